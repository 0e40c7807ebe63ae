"""Scores row by row: statistics of single forecast rows, which any aggregation can start from.

Statistics apart from their aggregation is WeatherBench-X's idea (Rasp et al.): means by series, lead time, weekday or
window are all made from the same rows.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from model.evaluation import metrics
from storage.schemas import quantile_column, score_schema


def score_rows(rows: pl.DataFrame, levels: list[float], baseline: np.ndarray, scale: np.ndarray) -> pl.DataFrame:
    """The score table (`score_schema`) of N forecast rows that came true.

    Args:
        rows: the columns of a forecast file, and `actual`.
        levels: the quantile levels of `rows`, Q of them.
        baseline: (N, Q) the baseline's quantiles of the same rows, NaN where it had nothing to lean on.
        scale: (N,) denominator of MASE, NaN where unknown.
    """
    at = np.array(levels)
    actual = rows["actual"].to_numpy()
    # Row by row in memory, as the baseline is, so that equal quantiles have equal scores to the last bit.
    quantiles = np.ascontiguousarray(rows.select(quantile_column(level) for level in levels).to_numpy())
    median = rows[quantile_column(0.5)].to_numpy()
    numbers = {
        "median": median,
        "error": actual - median,
        "absolute_error": metrics.absolute_error(quantiles, at, actual),
        "pinball": metrics.pinball(quantiles, at, actual),
        "covered_80": metrics.covered(quantiles, at, actual),
        "pit": metrics.pit(quantiles, at, actual),
        "baseline_pinball": metrics.pinball(baseline, at, actual),
        "baseline_absolute_error": metrics.absolute_error(baseline, at, actual),
        "baseline_covered_80": np.where(np.isnan(baseline[:, 0]), np.nan, metrics.covered(baseline, at, actual)),
        "scale": scale,
    }
    scored = rows.with_columns(pl.Series(name, values).fill_nan(None) for name, values in numbers.items())
    return scored.select(pl.col(name).cast(dtype) for name, dtype in score_schema().items())
