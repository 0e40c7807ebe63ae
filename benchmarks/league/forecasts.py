"""Forecasts of the league on disk: quantiles as Parquet, with settings and cost in a JSON file of the same name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.league.panel import LEVELS, Panel

COLUMNS = [f"q{round(100 * level)}" for level in LEVELS]


def settings_key(settings: dict[str, Any], data: str) -> str:
    """Return a hash of everything that a forecast depends on: its settings and the hash of its data."""
    return hashlib.sha256(json.dumps([settings, data], sort_keys=True).encode()).hexdigest()[:16]


def to_table(panel: Panel, quantiles: np.ndarray) -> pl.DataFrame:
    """Return quantiles of shape (S, I, H, Q) as rows like those of a forecast file."""
    count, horizon = len(panel.series), panel.horizon
    steps = panel.first + panel.origins[:, None] + np.arange(horizon)
    starts = panel.grid.start(steps.reshape(-1))
    issues = len(panel.issues)
    instant = pl.Datetime("us", "UTC")
    frame = pl.DataFrame({
        "series_id": np.repeat(panel.series, issues * horizon),
        "issue_time": pl.Series(np.tile(np.repeat(panel.issues, horizon), count)).cast(instant),
        "valid_time": pl.Series(np.tile(starts, count)).cast(instant),
        "step": pl.Series(np.tile(np.arange(1, horizon + 1), count * issues)).cast(pl.Int32),
    })  # fmt: skip
    flat = quantiles.reshape(-1, len(LEVELS))
    return frame.with_columns(pl.Series(name, flat[:, number]) for number, name in enumerate(COLUMNS))


def to_array(panel: Panel, rows: pl.DataFrame) -> np.ndarray:
    """Return the quantiles of forecast rows, shape (S, I, H, Q), NaN where there is no row."""
    series = pl.DataFrame({"series_id": panel.series, "s": np.arange(len(panel.series))})
    issues = pl.DataFrame({"issue_time": panel.issues, "i": np.arange(len(panel.issues))})
    rows = rows.with_columns(pl.col("issue_time").dt.epoch("us"))
    rows = rows.join(series, on="series_id").join(issues, on="issue_time")
    out = np.full((len(panel.series), len(panel.issues), panel.horizon, len(LEVELS)), np.nan)
    out[rows["s"].to_numpy(), rows["i"].to_numpy(), rows["step"].to_numpy() - 1] = rows.select(COLUMNS).to_numpy()
    return out


def read_facts(path: Path) -> dict[str, Any]:
    """Return settings and cost of a forecast file or a backtest folder, empty if either file is missing."""
    facts = path.with_suffix(".json")
    return dict(json.loads(facts.read_text())) if path.exists() and facts.exists() else {}


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    """Write settings and cost of a forecast. Call this last: a forecast without them counts as missing."""
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1))
