"""As-of view, tested by perturbation: only values that became available by T change what is visible at T."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows import clock
from flows.settings import file as pipeline_file
from flows.stages.ingest import ingest
from flows.stages.panels import known_series, revision_panel, to_micros, visible_panel
from model.windows import build_windows
from storage.store import open_store
from tests.support.pipelines import SAMPLES, SHARED

# A pipeline file, its feeds with the time at which each row became available, and an issue time.
Case = tuple[Path, dict[str, pl.DataFrame], datetime]

FILE = """
[pipeline]
name = "p"
store = "./store"
frequency = "{frequency}"
timezone = "{zone}"
holidays = "{holidays}"

[[feed]]
name = "demand"
role = "target"
uri = "target.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
available_at = "known"
time_zone = "UTC"

[[feed]]
name = "corrections"
role = "target"
uri = "corrections.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
available_at = "known"
time_zone = "UTC"

[[feed]]
name = "weather"
role = "known_future"
uri = "weather.parquet"
valid_time = "ds"
values = ["w"]
available_at = "known"
time_zone = "UTC"
"""

# name: frequency, zone, holidays, length of a period
SETS = {
    "load": ("1h", "America/New_York", "US", timedelta(hours=1)),
    "gas": ("1d", "Europe/Madrid", "ES", timedelta(days=1)),
    "halfhour": ("30m", "Australia/Melbourne", "AU-VIC", timedelta(minutes=30)),
}


def read_target(name: str) -> pl.DataFrame:
    """Return series_id, ds (UTC) and y of some months of real series."""
    if name == "load":
        rows = pl.read_parquet(SAMPLES / "load.parquet").filter(
            pl.col("ds").is_between(*month_starts(2018, 3, 2018, 9))
        )
        zone = pl.col("ds").dt.replace_time_zone("America/New_York", non_existent="null", ambiguous="earliest")
        rows = rows.with_columns(ds=zone.dt.convert_time_zone("UTC")).drop_nulls("ds")
        return rows.unique(["series_id", "ds"], maintain_order=True)
    source = SHARED / {"gas": "spain_daily.parquet", "halfhour": "vic_elec.parquet"}[name]
    if not source.exists():
        pytest.skip("the shared development data are not beside this checkout")
    rows = pl.read_parquet(source, columns=["series_id", "ds", "y"])
    if name == "gas":
        rows = rows.filter(pl.col("ds").is_between(*month_starts(2023, 1, 2024, 12)))
        return rows.with_columns(pl.col("ds").dt.replace_time_zone("Europe/Madrid").dt.convert_time_zone("UTC"))
    return rows.filter(pl.col("ds").dt.year() == 2013)


def month_starts(*parts: int) -> tuple[pl.Expr, pl.Expr]:
    return pl.datetime(parts[0], parts[1], 1), pl.datetime(parts[2], parts[3], 1)


@pytest.fixture(params=SETS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """Return a pipeline file, its feeds with the time at which each row became available, and an issue time."""
    frequency, zone, holidays, period = SETS[request.param]
    rng = np.random.default_rng(1)
    target = read_target(request.param).select("series_id", "ds", "y")
    delay = pl.Series(rng.integers(0, 30, len(target))) * timedelta(hours=1)
    target = target.with_columns(known=pl.col("ds") + period + delay)
    corrections = target.sample(fraction=0.05, seed=2).with_columns(
        y=pl.col("y") * 1.5, known=pl.col("known") + timedelta(days=3)
    )
    times = target["ds"].unique().sort()
    issues = [
        pl.DataFrame({"ds": times, "w": rng.normal(size=len(times)), "known": times - timedelta(days=days)})
        for days in (2, 1)
    ]
    path = tmp_path / "p.toml"
    path.write_text(FILE.format(frequency=frequency, zone=zone, holidays=holidays))
    feeds = {"target": target, "corrections": corrections, "weather": pl.concat(issues)}
    return path, feeds, times[int(len(times) * 0.8)]


def window_hashes(path: Path, feeds: dict[str, pl.DataFrame], at: datetime) -> tuple[str, str]:
    """Return the hashes of the forecast windows at `at` and of training windows before it, from a fresh history."""
    for name, frame in feeds.items():
        frame.write_parquet(path.parent / f"{name}.parquet")
    settings = pipeline_file.read(path, {})
    store = open_store(f"{settings.pipeline.store}-{len(list(path.parent.glob('store-*')))}")
    ingest(settings, store, clock.now(), clock.now())
    series = known_series(settings, store, at)
    spec, grid = settings.spec(series), settings.grid
    first, back, count = grid.first_step(to_micros(at)), 3 * settings.pipeline.context, len(series)
    rows = np.arange(count)
    panel = visible_panel(settings, store, series, at, first - back, back + settings.pipeline.horizon)
    forecast = build_windows(spec, panel, rows, np.full(count, first), np.full(count, to_micros(at)))
    past = revision_panel(settings, store, series, at, first - back, back)
    steps = first - settings.pipeline.horizon * np.arange(1, 6)
    training = build_windows(
        spec, past, np.tile(rows, 5), np.repeat(steps, count), np.repeat(grid.start(steps), count)
    )  # fmt: skip
    return forecast.sha256(), training.sha256()


def changed(
    feeds: dict[str, pl.DataFrame], name: str, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> dict[str, pl.DataFrame]:
    return {**feeds, name: change(feeds[name])}


@pytest.mark.parametrize("name", ["target", "corrections", "weather"])
def test_values_that_become_available_after_t_change_nothing(case: Case, name: str) -> None:
    path, feeds, at = case
    before = window_hashes(path, feeds, at)
    value = feeds[name].columns[-2]
    after = pl.col("known") > at
    assert feeds[name].filter(after).height > 0
    for change in (
        lambda rows: rows.filter(~after),
        lambda rows: rows.with_columns(pl.when(after).then(pl.col(value) * 7 + 1).otherwise(value).alias(value)),
        lambda rows: pl.concat([rows, rows.with_columns(pl.col(value) + 9, known=pl.lit(at) + timedelta(hours=1))]),
    ):
        assert window_hashes(path, changed(feeds, name, change), at) == before


@pytest.mark.parametrize("name", ["target", "weather"])
def test_a_value_that_is_revised_before_t_is_used(case: Case, name: str) -> None:
    path, feeds, at = case
    before = window_hashes(path, feeds, at)
    value = feeds[name].columns[-2]

    def revise(rows: pl.DataFrame, when: pl.Expr) -> pl.DataFrame:
        newest = rows.filter((pl.col("known") <= at) & (pl.col("ds") < at)).sort("known", "ds").tail(1)
        return pl.concat([rows, newest.with_columns(pl.col(value) + 1.0, known=when)])

    assert window_hashes(path, changed(feeds, name, lambda rows: revise(rows, pl.lit(at))), at) != before
    assert (
        window_hashes(path, changed(feeds, name, lambda rows: revise(rows, pl.lit(at) + timedelta(seconds=1))), at)
        == before
    )
