"""Forecasts of the league on disk: quantiles as Parquet, and beside them what they were made with and cost."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.league.panel import LEVELS, Panel

COLUMNS = [f"q{round(100 * level)}" for level in LEVELS]
KEYS = ["series_id", "issue_time", "step"]


def key(settings: dict[str, Any], data: str) -> str:
    """Of a forecast: the hash of everything that it depends on."""
    return hashlib.sha256(json.dumps([settings, data], sort_keys=True).encode()).hexdigest()[:16]


def table(panel: Panel, quantiles: np.ndarray) -> pl.DataFrame:
    """Rows as in Gatecast's forecast file, of (S, I, H, Q) quantiles."""
    count, horizon = len(panel.series), panel.horizon
    steps = panel.first + panel.origins[:, None] + np.arange(horizon)
    starts = panel.grid.start(steps.reshape(-1))
    nights = len(panel.issues)
    when = pl.Datetime("us", "UTC")
    frame = pl.DataFrame({
        "series_id": np.repeat(panel.series, nights * horizon),
        "issue_time": pl.Series(np.tile(np.repeat(panel.issues, horizon), count)).cast(when),
        "valid_time": pl.Series(np.tile(starts, count)).cast(when),
        "step": pl.Series(np.tile(np.arange(1, horizon + 1), count * nights)).cast(pl.Int32),
    })  # fmt: skip
    flat = quantiles.reshape(-1, len(LEVELS))
    return frame.with_columns(pl.Series(name, flat[:, number]) for number, name in enumerate(COLUMNS))


def cube(panel: Panel, rows: pl.DataFrame) -> np.ndarray:
    """(S, I, H, Q) quantiles of forecast rows, NaN where there is no row."""
    place = pl.DataFrame({"series_id": panel.series, "s": np.arange(len(panel.series))})
    night = pl.DataFrame({"issue_time": panel.issues, "i": np.arange(len(panel.issues))})
    rows = (
        rows.with_columns(pl.col("issue_time").dt.epoch("us")).join(place, on="series_id").join(night, on="issue_time")
    )
    out = np.full((len(panel.series), len(panel.issues), panel.horizon, len(LEVELS)), np.nan)
    out[rows["s"].to_numpy(), rows["i"].to_numpy(), rows["step"].to_numpy() - 1] = rows.select(COLUMNS).to_numpy()
    return out


def read_facts(path: Path) -> dict[str, Any]:
    """What is kept beside a forecast (or the folder of a backtest); empty if either is not there."""
    facts = path.with_suffix(".json")
    return json.loads(facts.read_text()) if path.exists() and facts.exists() else {}


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    """Written after the forecast: one without it is none."""
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1))
