"""Store of many nightly runs, written without training: input of the report page for any series."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from storage import forecasts, history, layout, quarantine, registry, run_records
from storage.schemas import BASELINE, INSTANT, MODEL, quantile_column
from storage.schemas.records import RunRecord
from storage.store import open_store

ZONE = ZoneInfo("Europe/Berlin")
#: Issue time one day after the end of summer time, so that the day before the forecast has 25 hours.
ISSUE = datetime(2026, 10, 26, tzinfo=ZONE).astimezone(UTC)
NOW = ISSUE + timedelta(minutes=12)
LEVELS = [round(0.1 * i, 1) for i in range(1, 10)]
FEWEST = "only 12 of 336 values of the context were known; the model needs 168"

PIPELINE = """
[pipeline]
name = "made"
store = "./store"
frequency = "1h"
timezone = "Europe/Berlin"
horizon = 24
context = 336
season = 168

[[feed]]
name = "demand"
role = "target"
uri = "none.parquet"
series_id = "series_id"
valid_time = "t"
values = ["y"]
unit = "MW"

[[feed]]
name = "weather"
role = "known_future"
uri = "none.parquet"
valid_time = "t"
values = ["temperature"]
"""


def write_pipeline_file(folder: Path) -> Path:
    """Write a pipeline file with an empty store, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "made.toml"
    path.write_text(PIPELINE)
    return path


def make_store(folder: Path, names: list[str], count: int = 10, fallback: int = 0) -> Path:
    """Write a pipeline file and a store with forecasts, scores and run records, and return the file's path.

    Args:
        folder: Folder of both.
        names: Series ids.
        count: Number of issue times, one day apart.
        fallback: Number of series with baseline rows in the newest forecast.
    """
    path = write_pipeline_file(folder)
    store = open_store(str(folder / "store"))
    version = registry.add(
        store, "made", ISSUE - timedelta(days=20), b"not a model",
        {"trained_at": ISSUE.isoformat(), "scores": {"challenger": {"pinball": 4.5}, "baseline": {"pinball": 9.0}},
         "decision": {"promoted": True, "reason": "promoted: pinball 4.5, no champion to beat"}},
    )  # fmt: skip
    registry.promote(store, "made", version)
    issues = [(ISSUE.astimezone(ZONE) - timedelta(days=back)).astimezone(UTC) for back in reversed(range(count))]
    begin = issues[0] - timedelta(days=2)
    truth = _truth(names, begin, ISSUE)
    history.append(store, "made", "demand", truth, ISSUE)
    for issue in issues:
        newest = issue == ISSUE
        rows = _forecast(names, issue, begin, version, fallback if newest else 0)
        forecasts.publish(store, "made", str(ZONE), issue, [rows], LEVELS, lambda: forecasts.ForecastMetadata(None, ""))
        run_records.write(store, "made", issue, record(issue, rows))
        if not newest:
            store.put_parquet(f"{layout.scores('made')}/{layout.stamp(issue)}.parquet", scored(rows, truth))
    refused = pl.DataFrame({"series_id": names[:3]}).with_columns(t=pl.lit("x"), reason=pl.lit("no time in 't'"))
    quarantine.append(store, "made", "demand", refused, ISSUE)
    return path


def record(issue: datetime, rows: pl.DataFrame) -> RunRecord:
    """Return the run record of a run that began at its issue time and had no failure."""
    minutes = {"issue_time": 0, "started_at": 0, "published_at": 4, "deadline": 10}
    times = {key: (issue + timedelta(minutes=value)).isoformat() for key, value in minutes.items()}
    feed = {"read": 500, "accepted": 498, "refused": 2, "later": 0, "series": 3, "first": "2026-10-01T00:00:00Z",
            "last": "2026-10-25T22:00:00Z", "reasons": {"no time": 2}, "added": 72, "unchanged": 426,
            "findings": [{"series_id": rows["series_id"][0], "check": "flat_line", "detail": "13 equal values",
                          "rows": 13, "first": "2026-10-20T00:00:00+00:00",
                          "last": "2026-10-20T13:00:00+00:00"}]}  # fmt: skip
    return cast(RunRecord, {
        "pipeline": "made", **times, "seconds": {"ingest": 3.25, "forecast": 0.5}, "failures": {},
        "ingest": {"feeds": {"demand": feed}}, "late": {"weather": "newest value 2 h later than usual"},
        "train": {"trained": False}, "score": None,
        "forecast": {"status": dict(rows.group_by("status").len().iter_rows())},
        "alerts": [{"check": "calibration", "series_id": rows["series_id"][0], "detail": "PIT is not uniform"}],
        "degraded": bool((rows["status"] != MODEL).any()),
    })  # fmt: skip


def _truth(names: list[str], begin: datetime, end: datetime) -> pl.DataFrame:
    """Return the actuals until `end`: series_id, valid_time, available_at, y."""
    hours = int((end - begin) / timedelta(hours=1))
    times = pl.datetime_range(begin, end - timedelta(hours=1), "1h", time_unit="us", eager=True)
    values = np.concatenate([_shape(number, np.arange(hours)) for number in range(len(names))])
    frame = pl.DataFrame({"series_id": np.repeat(np.array(names, object), hours).tolist(), "y": values})
    frame = frame.with_columns(valid_time=pl.concat([times] * len(names)))
    return frame.with_columns(available_at=pl.col("valid_time") + pl.duration(hours=1))


def _shape(number: int, hours: np.ndarray) -> np.ndarray:
    level = 50.0 + 37.0 * (number % 100)
    noise = np.random.default_rng(number).normal(size=hours.size)
    return level * (1 + 0.3 * np.sin(2 * np.pi * (hours - 8) / 24) + 0.05 * noise)


def _forecast(names: list[str], issue: datetime, begin: datetime, version: str, fallback: int) -> pl.DataFrame:
    hours = int((issue - begin) / timedelta(hours=1)) + np.arange(24)
    middle = 1.01 * np.stack([_shape(number, hours) for number in range(len(names))])
    by_model = np.repeat(np.arange(len(names)) >= fallback, 24)
    spread = np.linspace(-1.3, 1.3, len(LEVELS))
    rows = pl.DataFrame(
        {
            "series_id": np.repeat(np.array(names, object), 24).tolist(),
            "valid_time": [issue + timedelta(hours=h) for h in range(24)] * len(names),
            "step": np.tile(np.arange(1, 25), len(names)),
            **{quantile_column(q): middle.ravel() * (1 + 0.04 * s) for q, s in zip(LEVELS, spread, strict=True)},
            "status": np.where(by_model, MODEL, BASELINE).tolist(),
            "reason": [None if model else FEWEST for model in by_model],
            "model_version": [version if model else None for model in by_model],
        }
    )
    return rows.with_columns(issue_time=pl.lit(issue, dtype=INSTANT)).cast({"reason": pl.String}).sort(
        "series_id", "step"
    )  # fmt: skip


def scored(rows: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Return the scores of one forecast. The baseline's pinball is twice the forecast's."""
    joined = rows.join(truth.select("series_id", "valid_time", actual="y"), on=["series_id", "valid_time"])
    error = pl.col("actual") - pl.col("q50")
    return joined.select(
        "series_id", "issue_time", "valid_time", "step", "status", "model_version", "actual", median="q50", error=error,
        absolute_error=error.abs(), pinball=0.5 * error.abs(), pit=pl.lit(0.45),
        covered_80=pl.col("actual").is_between("q10", "q90").cast(pl.Float64),
        baseline_pinball=error.abs(), baseline_absolute_error=2 * error.abs(),
        baseline_covered_80=pl.lit(1.0), scale=pl.lit(10.0),
    )  # fmt: skip
