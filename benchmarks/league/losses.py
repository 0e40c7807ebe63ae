"""Losses of a forecast per series, issue time and step block. Every figure of the league's table is computed from them.

The losses of forecasts that took long are kept in the repository. They need a tenth of the space of the forecasts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks.league.panel import LEVELS, Panel
from model.evaluation import metrics

#: Mantissa bits of a float32 that are kept: a relative precision of 2^-12, which compresses well.
_MANTISSA_BITS = 11
_MOST_SINGLE_STEPS = 7
_BLOCKS = 4


class Losses(NamedTuple):
    """Sums over the steps of each block, arrays of shape (S, I, B).

    Attributes:
        scored: Number of steps with an actual and a forecast.
        missing: Number of steps with an actual and no forecast.
        pinball: Sum of pinball (mean over levels), divided by the series' scale.
        absolute_error: Sum of the absolute error of the median, divided by the series' scale.
        covered: Number of actuals inside the 80% interval.
    """

    scored: np.ndarray
    missing: np.ndarray
    pinball: np.ndarray
    absolute_error: np.ndarray
    covered: np.ndarray


def step_blocks(horizon: int) -> list[np.ndarray]:
    """Return the steps, from 0, of each block: single steps of a short horizon, else quarters of it."""
    return np.array_split(np.arange(horizon), horizon if horizon <= _MOST_SINGLE_STEPS else _BLOCKS)


def compute_losses(panel: Panel, quantiles: np.ndarray) -> Losses:
    """Return the losses of quantiles, shape (S, I, H, Q), NaN where there is no forecast."""
    actual = panel.actual()
    is_known = ~np.isnan(actual)
    is_forecast = np.isfinite(quantiles).all(axis=-1)
    actual = np.where(is_forecast, actual, np.nan)
    scale = panel.scale()[:, None, None]
    return Losses(
        _sums(panel, is_known & is_forecast),
        _sums(panel, is_known & ~is_forecast),
        _sums(panel, metrics.pinball(quantiles, LEVELS, actual) / scale),
        _sums(panel, metrics.absolute_error(quantiles, LEVELS, actual) / scale),
        _sums(panel, metrics.covered(quantiles, LEVELS, actual)),
    )


def to_table(panel: Panel, losses: Losses) -> pl.DataFrame:
    """Return the losses as a compact table, one row per series, issue time and block."""
    count, issues, blocks = losses.scored.shape
    return pl.DataFrame({
        "series_id": np.repeat(panel.series, issues * blocks),
        "issue_time": pl.Series(np.tile(np.repeat(panel.issues, blocks), count)).cast(pl.Datetime("us", "UTC")),
        "block": pl.Series(np.tile(np.arange(blocks), count * issues)).cast(pl.UInt8),
        "scored": pl.Series(losses.scored.ravel()).cast(pl.UInt8),
        "missing": pl.Series(losses.missing.ravel()).cast(pl.UInt8),
        "pinball": _rounded(losses.pinball),
        "absolute_error": _rounded(losses.absolute_error),
        "covered": pl.Series(losses.covered.ravel()).cast(pl.UInt8),
    })  # fmt: skip


def from_table(panel: Panel, table: pl.DataFrame) -> Losses:
    """Return the losses of a table that `to_table` made for the same series and issue times."""
    shape = (len(panel.series), len(panel.issues), len(step_blocks(panel.horizon)))
    table = table.sort("series_id", "issue_time", "block")
    return Losses(*(table[name].to_numpy().astype(np.float64).reshape(shape) for name in Losses._fields))


def _sums(panel: Panel, cells: np.ndarray) -> np.ndarray:
    """Return the sums of (S, I, H) over the steps of each block, shape (S, I, B), without the NaN."""
    return np.stack([np.nansum(cells[:, :, block], axis=2) for block in step_blocks(panel.horizon)], axis=-1)


def _rounded(sums: np.ndarray) -> np.ndarray:
    """Return sums of shape (S, I, B) as flat float32 values with few mantissa bits.

    The rounding error of each issue time is added to the next one, so that means over issue times hardly change.
    """
    cleared = np.finfo(np.float32).nmant - _MANTISSA_BITS
    mask = np.uint32(0xFFFFFFFF << cleared & 0xFFFFFFFF)
    out = np.empty(sums.shape, np.float32)
    error = np.zeros((sums.shape[0], sums.shape[2]))
    for number in range(sums.shape[1]):
        wanted = np.maximum(sums[:, number] + error, 0)
        bits = wanted.astype(np.float32).view(np.uint32) + np.uint32(1 << (cleared - 1))
        out[:, number] = (bits & mask).view(np.float32)
        error += sums[:, number] - out[:, number]
    return out.ravel()
