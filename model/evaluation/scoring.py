"""Scores of single forecast rows.

Statistics per row are kept apart from their aggregation, as in WeatherBench-X (Rasp et al.). Means by series, lead
time, weekday or window then all start from the same rows.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.evaluation import metrics
from storage.schemas import quantile_column, score_schema


def score_rows(
    rows: pl.DataFrame, levels: list[float], baseline: NDArray[np.float64], scale: NDArray[np.float64]
) -> pl.DataFrame:
    """Return the score table (`score_schema`) of N forecast rows with a known actual.

    Args:
        rows: Columns of a forecast file, and `actual`.
        levels: Quantile levels of `rows`.
        baseline: Quantiles of the baseline for the same rows, shape (N, Q), NaN where it had no history.
        scale: Denominator of MASE, shape (N,), NaN where unknown.
    """
    level_array = np.array(levels)
    actual = rows["actual"].to_numpy()
    # The memory order is that of the baseline, so that equal quantiles have equal scores to the last bit.
    quantiles = np.ascontiguousarray(rows.select(quantile_column(level) for level in levels).to_numpy())
    median = rows[quantile_column(0.5)].to_numpy()
    baseline_covered = metrics.covered(baseline, level_array, actual)
    columns = {
        "median": median,
        "error": actual - median,
        "absolute_error": metrics.absolute_error(quantiles, level_array, actual),
        "pinball": metrics.pinball(quantiles, level_array, actual),
        "covered_80": metrics.covered(quantiles, level_array, actual),
        "pit": metrics.pit(quantiles, level_array, actual),
        "baseline_pinball": metrics.pinball(baseline, level_array, actual),
        "baseline_absolute_error": metrics.absolute_error(baseline, level_array, actual),
        "baseline_covered_80": np.where(np.isnan(baseline[:, 0]), np.nan, baseline_covered),
        "scale": scale,
    }
    scored = rows.with_columns(pl.Series(name, values).fill_nan(None) for name, values in columns.items())
    return scored.select(pl.col(name).cast(dtype) for name, dtype in score_schema().items())
