"""Forecasts of series with a short history: trained with other series, or alone.

`python -m benchmarks.transfer` takes four zones of the league's task `zones` and shortens their history. Each is
forecast by a pipeline that also has the sixteen other zones, and by a pipeline of its own, with the public command
`backtest`. Both train once, on the first of 28 days. Finished parts are kept, so an interrupted run continues. All days
are of the year before the league's test period. It writes benchmarks/results/transfer.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.first_light import machine
from benchmarks.league import runs
from benchmarks.league.forecasts import COLUMNS
from benchmarks.league.panel import LEVELS
from benchmarks.league.tasks import ROOT, STORE, Task, by_name
from model.evaluation import metrics

RESULTS = ROOT / "benchmarks" / "results" / "transfer.md"
ZONES = ("zone_02", "zone_08", "zone_13", "zone_19")
STARTS = (date(2006, 10, 2), date(2007, 2, 5))
#: Days of history that a zone has at the first issue time.
LENGTHS = (21, 90, 365)
ISSUES = 28
_SEASON = 168
_SETTINGS = {"GATECAST_TRAINING__BUDGET": "1800s"}


@dataclass(frozen=True)
class ShortTask(Task):
    """The task `zones` with a pipeline file of its own.

    Attributes:
        folder: Folder of the pipeline file and its tables.
    """

    folder: Path = STORE

    @property
    def pipeline_path(self) -> Path:
        """Path of the pipeline file."""
        return self.folder / "pipeline.toml"


def shorten(target: pl.DataFrame, zones: tuple[str, ...], start: date, length: int) -> pl.DataFrame:
    """Return the target table in which the history of some zones begins `length` days before `start`."""
    begin = pl.lit(start - timedelta(days=length)).cast(target["ds"].dtype)
    return target.filter(~pl.col("series_id").is_in(zones) | (pl.col("ds") >= begin))


def _prepare(task: Task, name: str, target: pl.DataFrame) -> ShortTask:
    """Write the pipeline file and the target table of one part."""
    folder = STORE / "transfer" / name
    folder.mkdir(parents=True, exist_ok=True)
    target.write_parquet(folder / "target.parquet")
    text = task.pipeline_path.read_text()
    for path in task.table_paths():
        own = folder / "target.parquet" if path.stem == task.name else path
        text = text.replace(f"../../../store/league/data/{path.name}", str(own))
    text = text.replace("../../../store/league/gatecast", str(folder / "store"))
    (folder / "pipeline.toml").write_text(text)
    return ShortTask(name, task.group, task.source, task.start, task.end, task.target, task.known, folder=folder)


def _forecast(task: Task, name: str, target: pl.DataFrame, start: date) -> pl.DataFrame:
    """Return the forecasts of one part, made unless they exist."""
    part = _prepare(task, name, target)
    path = part.folder / "out" / "forecasts.parquet"
    if not (part.folder / "done").exists():
        days = [start + timedelta(days=number) for number in range(ISSUES)]
        runs.backtest(part, days, "3650d", part.folder / "out", _SETTINGS)
        (part.folder / "done").touch()
    return pl.read_parquet(path)


def scaled_pinball(rows: pl.DataFrame, actual: pl.DataFrame, start: date, zone: str) -> float:
    """Return the mean pinball loss of a zone's forecasts, divided by its seasonal naive MAE before `start`.

    Args:
        rows: Forecasts with the levels of the league.
        actual: Target table with the whole history.
        start: First issue day.
        zone: The zone.
    """
    own = actual.filter(pl.col("series_id") == zone).sort("ds")
    past = own.filter(pl.col("ds") < pl.lit(start).cast(own["ds"].dtype))["y"].to_numpy()
    scale = np.nanmean(np.abs(past[_SEASON:] - past[:-_SEASON]))
    valid = pl.col("valid_time").dt.replace_time_zone(None).cast(own["ds"].dtype)
    joined = rows.filter(pl.col("series_id") == zone).with_columns(ds=valid).join(own, on=["series_id", "ds"])
    quantiles = joined.select(COLUMNS).to_numpy()
    return float(metrics.pinball(quantiles, LEVELS, joined["y"].to_numpy()).mean() / scale)


def main() -> None:
    """Forecast all parts, and write the table."""
    task = by_name("zones")
    if not task.has_data:
        sys.exit(f"Nothing is written: {task.source_path} is not here.")
    task.prepare()
    actual = pl.read_parquet(task.table_paths()[0])
    lines = ["| history | with sixteen other zones | alone | alone, forecasts of a model |", "|---|---:|---:|---:|"]
    for length in LENGTHS:
        together, alone, modelled = [], [], []
        for start in STARTS:
            cut = shorten(actual, ZONES, start, length)
            rows = _forecast(task, f"{length}-{start}", cut, start)
            for zone in ZONES:
                together.append(scaled_pinball(rows, actual, start, zone))
                own = _forecast(task, f"{length}-{start}-{zone}", cut.filter(pl.col("series_id") == zone), start)
                alone.append(scaled_pinball(own, actual, start, zone))
                modelled.append(float((own["status"] == "model").to_numpy().mean()))
        means = f"{np.mean(together):.4f} | {np.mean(alone):.4f} | {np.mean(modelled):.0%}"
        lines.append(f"| {length} days | {means} |")
        print(lines[-1], flush=True)
    RESULTS.write_text("\n".join([
        "# Short histories", "",
        f"`python -m benchmarks.transfer`. {machine()}", "",
        f"Mean pinball loss of {len(ZONES)} zones over {ISSUES} days from each of {len(STARTS)} dates, divided by the "
        "seasonal naive MAE of the zone.", "", *lines,
    ]) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
