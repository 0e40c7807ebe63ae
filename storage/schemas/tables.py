"""The tables of the contract: column names, types, and the errors of data that does not fit them."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

CONTRACT_VERSION = "1"

#: Instants are stored in UTC at microsecond resolution, everywhere.
INSTANT = pl.Datetime("us", "UTC")

_QUANTILE = re.compile(r"q\d+(_\d+)?")

MODEL, STALE_MODEL, BASELINE = "model", "stale_model", "baseline"


def quantile_column(level: float) -> str:
    """Column that holds the quantile of `level` in (0, 1): 0.5 -> `q50`, 0.025 -> `q2_5`."""
    return "q" + f"{level * 100:.6f}".rstrip("0").rstrip(".").replace(".", "_")


def exceedance_column(threshold: float) -> str:
    """Column that holds P(value > `threshold`): 30000 -> `p_above_30000`, -0.5 -> `p_above_minus_0_5`."""
    digits = f"{abs(threshold):.6f}".rstrip("0").rstrip(".").replace(".", "_")
    return f"p_above_{'minus_' if threshold < 0 else ''}{digits}"


def quantile_levels(columns: list[str]) -> list[float]:
    """The levels whose quantiles a forecast table of these `columns` has, ascending: `q2_5` -> 0.025."""
    found = [name[1:].replace("_", ".") for name in columns if _QUANTILE.fullmatch(name)]
    return sorted(round(float(percent) / 100, 8) for percent in found)


def history_schema(values: list[str]) -> dict[str, pl.DataType]:
    """Columns of one feed's history.

    `series_id` is null for covariates shared by all series; `available_at` is null for values known at
    every issue time.
    """
    keys: dict[str, pl.DataType] = {
        "series_id": pl.String(),
        "valid_time": INSTANT,
        "available_at": INSTANT,
        "ingested_at": INSTANT,
    }
    return keys | {name: pl.Float64() for name in values}


def forecast_schema(levels: list[float], above: tuple[float, ...] = ()) -> dict[str, pl.DataType]:
    """Columns of a forecast file, in order; one float64 column a quantile level, and last one a threshold asked for."""
    return {
        "series_id": pl.String(),
        "issue_time": INSTANT,
        "valid_time": INSTANT,
        "step": pl.Int32(),
        **{quantile_column(level): pl.Float64() for level in levels},
        "status": pl.String(),
        "reason": pl.String(),
        "model_version": pl.String(),
        **{exceedance_column(threshold): pl.Float64() for threshold in above},
    }


def shard_result_schema() -> dict[str, Any]:
    """Columns of what one shard of a forecast made: one row a series.

    Beside it, each quantile level and each probability asked for has H numbers.
    `newest` is the step of the newest value in sight, `ever` whether there ever was one, `digest` the sha256 of what
    the series was forecast from. What has ended has no status.
    """
    return {
        "series_id": pl.String(),
        "newest": pl.Int64(),
        "ever": pl.Boolean(),
        "status": pl.String(),
        "reason": pl.String(),
        "model_version": pl.String(),
        "digest": pl.Binary(),
    }


def score_schema() -> dict[str, pl.DataType]:
    """Columns of a score table: one row for each row of a forecast file that came true. docs/scores.md defines them.

    Null where a number cannot be told: coverage where the levels do not reach from 0.1 to 0.9, what leans on the
    past where the series had none at the issue time.
    """
    number = pl.Float64()
    return {
        "series_id": pl.String(),
        "issue_time": INSTANT,
        "valid_time": INSTANT,
        "step": pl.Int32(),
        "status": pl.String(),
        "model_version": pl.String(),
        "actual": number,
        "median": number,
        "error": number,
        "absolute_error": number,
        "pinball": number,
        "covered_80": number,
        "pit": number,
        "baseline_pinball": number,
        "baseline_absolute_error": number,
        "baseline_covered_80": number,
        "scale": number,
    }
