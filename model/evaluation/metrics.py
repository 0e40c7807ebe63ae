"""Scores of forecasts, one per row. Aggregation is left to the caller.

Shapes: Q quantile levels, ... any shape of rows. Quantiles have shape (..., Q), levels (Q,), ascending, and actuals
(...,), NaN where unknown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pinball(quantiles: Array, levels: Array, actual: Array) -> Array:
    """Return the mean over levels of max(q e, (q - 1) e) with e = actual - quantile (Koenker and Bassett 1978).

    There is no factor 2. The result is in the target's unit, NaN where the actual is unknown.
    """
    error = actual[..., None] - quantiles
    loss: Array = np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)
    return loss


def absolute_error(quantiles: Array, levels: Array, actual: Array) -> Array:
    """Return |actual - median|, NaN where the actual is unknown."""
    error: Array = np.abs(actual - quantiles[..., int(np.argmin(np.abs(levels - 0.5)))])
    return error


def covered(quantiles: Array, levels: Array, actual: Array, mass: float = 0.8) -> Array:
    """Return 1.0 where the central interval of `mass` contains the actual, and 0.0 elsewhere.

    The ends of the interval are interpolated between the quantiles. The result is NaN where the actual is unknown, and
    everywhere if the levels do not reach the ends.
    """
    low, high = (1 - mass) / 2, (1 + mass) / 2
    if levels[0] > low + 1e-9 or levels[-1] < high - 1e-9:
        return np.full(actual.shape, np.nan)
    below, above = (_at_level(quantiles, levels, level) for level in (low, high))
    is_inside = ((actual >= below) & (actual <= above)).astype(np.float64)
    return np.where(np.isnan(actual), np.nan, is_inside)


def pit(quantiles: Array, levels: Array, actual: Array) -> Array:
    """Return the level of each actual in its forecast distribution, in (0, 1): the probability integral transform.

    The level is interpolated linearly between two quantiles. Beyond the outer quantiles it is the middle of the mass
    there (below q10: 0.05). Where several quantiles equal the actual, it is the middle of their levels. The levels of
    calibrated forecasts are uniform (Dawid 1984). The result is NaN where the actual is unknown.
    """
    value = actual[..., None]
    below, up_to = (quantiles < value).sum(axis=-1), (quantiles <= value).sum(axis=-1)
    edges = np.concatenate([[levels[0] / 2], levels, [(1 + levels[-1]) / 2]])
    # Ends of each gap between quantiles. Beyond the outer quantiles both ends are the middle of the mass there.
    low = np.where(below == len(levels), len(levels) + 1, below)
    high = np.where(below == 0, 0, below + 1)
    ends = [
        np.take_along_axis(quantiles, np.clip(i - 1, 0, len(levels) - 1)[..., None], -1)[..., 0] for i in (low, high)
    ]
    width = ends[1] - ends[0]
    share = np.where(width > 0, (actual - ends[0]) / np.where(width > 0, width, 1), 0.0)
    between = edges[low] + share * (edges[high] - edges[low])
    level = np.where(up_to > below, (edges[np.minimum(below + 1, len(levels))] + edges[up_to]) / 2, between)
    return np.where(np.isnan(actual), np.nan, level)


#: Functions of (quantiles, levels, actual) by their names in the scores of candidates.
MEASURES = {"pinball": pinball, "mae": absolute_error, "coverage_80": covered}


def summary(quantiles: Array, levels: Array, actual: Array) -> dict[str, float]:
    """Return `n` and the means of `pinball`, `mae` and `coverage_80` over the rows with a known actual."""
    is_known = ~np.isnan(actual)
    quantiles, actual = quantiles[is_known], actual[is_known]
    if not actual.size:
        return {"n": 0, **dict.fromkeys(MEASURES, float("nan"))}
    return {"n": int(actual.size)} | {
        name: float(measure(quantiles, levels, actual).mean()) for name, measure in MEASURES.items()
    }


def _at_level(quantiles: Array, levels: Array, level: float) -> Array:
    """Return the quantile of a level between the outer ones, by linear interpolation."""
    high = int(np.searchsorted(levels, level - 1e-9))
    low = max(high - 1, 0) if levels[high] > level + 1e-9 else high
    if low == high:
        return quantiles[..., high]
    share = (level - levels[low]) / (levels[high] - levels[low])
    interpolated: Array = quantiles[..., low] * (1 - share) + quantiles[..., high] * share
    return interpolated
