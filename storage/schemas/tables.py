"""Columns and types of the tables in the store."""

from __future__ import annotations

import re

import polars as pl

#: Version of the store's layout and tables, written into forecast and score files.
CONTRACT_VERSION = "1"

#: Type of every stored instant.
INSTANT = pl.Datetime("us", "UTC")

#: Column of the name of the file that a row of a feed comes from. A feed of one file does not have it.
FILE = ":file"

_QUANTILE = re.compile(r"q\d+(_\d+)?")

#: Values of a forecast row's `status`.
MODEL, STALE_MODEL, BASELINE = "model", "stale_model", "baseline"


def quantile_column(level: float) -> str:
    """Return the column of the quantile at `level` in (0, 1): 0.5 -> `q50`, 0.025 -> `q2_5`."""
    return "q" + f"{level * 100:.6f}".rstrip("0").rstrip(".").replace(".", "_")


def exceedance_column(threshold: float) -> str:
    """Return the column of P(value > `threshold`): 30000 -> `p_above_30000`, -0.5 -> `p_above_minus_0_5`."""
    digits = f"{abs(threshold):.6f}".rstrip("0").rstrip(".").replace(".", "_")
    return f"p_above_{'minus_' if threshold < 0 else ''}{digits}"


def quantile_levels(columns: list[str]) -> list[float]:
    """Return the quantile levels of a forecast table with these columns, ascending: `q2_5` -> 0.025."""
    percents = [name[1:].replace("_", ".") for name in columns if _QUANTILE.fullmatch(name)]
    return sorted(round(float(percent) / 100, 8) for percent in percents)


def history_schema(values: list[str]) -> dict[str, pl.DataType]:
    """Return the columns of one feed's history.

    `series_id` is null for a covariate that all series share. `available_at` is null for values that are known at
    every issue time.
    """
    keys: dict[str, pl.DataType] = {
        "series_id": pl.String(),
        "valid_time": INSTANT,
        "available_at": INSTANT,
        "ingested_at": INSTANT,
    }
    return keys | {name: pl.Float64() for name in values}


def forecast_schema(levels: list[float], thresholds: tuple[float, ...] = ()) -> dict[str, pl.DataType]:
    """Return the columns of a forecast file, in order.

    Args:
        levels: Quantile levels, with one column each.
        thresholds: Values x with a column for P(value > x) each.
    """
    return {
        "series_id": pl.String(),
        "issue_time": INSTANT,
        "valid_time": INSTANT,
        "step": pl.Int32(),
        **{quantile_column(level): pl.Float64() for level in levels},
        "status": pl.String(),
        "reason": pl.String(),
        "model_version": pl.String(),
        **{exceedance_column(threshold): pl.Float64() for threshold in thresholds},
    }


def sample_schema() -> dict[str, pl.DataType]:
    """Return the columns of a file of sample paths, in order."""
    return {
        "series_id": pl.String(),
        "issue_time": INSTANT,
        "valid_time": INSTANT,
        "step": pl.Int32(),
        "sample": pl.Int32(),
        "value": pl.Float64(),
    }


def shard_result_schema() -> dict[str, pl.DataType]:
    """Return the columns of a shard result, one row per series.

    `newest` is the step of the newest visible value. `ever` states whether the series has any visible value. `status`
    is null for a series that has ended. `digest` is the sha256 of the data that the series was forecast from.
    `incomplete` lists the inputs that were late or missing. A staged result also has one array column of length H for
    each quantile level and each threshold.
    """
    return {
        "series_id": pl.String(),
        "newest": pl.Int64(),
        "ever": pl.Boolean(),
        "status": pl.String(),
        "reason": pl.String(),
        "model_version": pl.String(),
        "digest": pl.Binary(),
        "incomplete": pl.List(pl.Struct({"feed": pl.String(), "reason": pl.String()})),
    }


def score_schema() -> dict[str, pl.DataType]:
    """Return the columns of a score table, one row per forecast row with an actual value. See docs/scores.md.

    Coverage is null if the levels do not span 0.1 to 0.9. Baseline columns and `scale` are null if the series had no
    history at the issue time.
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
