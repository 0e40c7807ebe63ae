"""Exceedance probabilities P(value > x) of the distribution that a softmax head forecasts.

The distribution is the one whose quantiles are published. The quantile functions of the ensemble members are averaged,
level by level, as the quantiles are (Vincentization: Ratcliff 1979). A mean of the members' probabilities would be a
wider distribution.

Shapes: B windows, H horizon, M members, N bins, X thresholds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HALVINGS = 40  # of the interval of levels, to an accuracy of 1e-12

# Further digits of a probability are rounding errors, which would keep 0 and 1 from being exact.
_DIGITS = 11
_TINY = np.finfo(np.float64).tiny


def probability_above(
    edges: NDArray[np.float32], probabilities: NDArray[np.float32], thresholds: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return P(value > x) for each threshold x, without bounds.

    Args:
        edges: Edges of the bins in the target's unit, shape (B, H, M, N + 1). Within a bin the density is constant.
        probabilities: Probabilities of the bins, shape (B, H, M, N).
        thresholds: X values.

    Returns:
        Array of shape (B, H, X).
    """
    # In float64 with a sum of exactly 1. Otherwise a sum of 1 - 1e-7 would leave a probability far above all bins.
    share = probabilities.astype(np.float64)
    share /= share.sum(axis=-1, keepdims=True)
    low, width = edges[..., :-1].astype(np.float64), np.diff(edges.astype(np.float64), axis=-1)
    if edges.shape[2] == 1:
        below = [(share * np.clip((x - low) / np.maximum(width, _TINY), 0, 1)).sum(axis=(2, 3)) for x in thresholds]
    else:
        before = np.cumsum(share, axis=-1) - share
        below = [_level(x, low[..., 0], width, share, before) for x in thresholds]
    return np.round(1 - np.stack(below, axis=-1), _DIGITS)


def _level(
    x: float, first: NDArray[np.float64], width: NDArray[np.float64], share: NDArray[np.float64],
    before: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """Return the level whose quantile is `x`, shape (B, H).

    The bins of the members end at different levels, so the mean quantile function has no closed inverse. The level is
    found by bisection.

    Args:
        x: Threshold.
        first: Lower edge of the first bin, shape (B, H, M).
        width: Widths of the bins, shape (B, H, M, N).
        share: Probabilities of the bins, shape (B, H, M, N).
        before: Probability below each bin, shape (B, H, M, N).
    """
    lower, upper = np.zeros(first.shape[:2]), np.ones(first.shape[:2])
    for _ in range(_HALVINGS):
        level = (lower + upper) / 2
        filled = np.clip((level[..., None, None] - before) / np.maximum(share, _TINY), 0, 1)
        quantile = (first + (filled * width).sum(axis=-1)).mean(axis=-1)
        lower, upper = np.where(quantile <= x, level, lower), np.where(quantile <= x, upper, level)
    return (lower + upper) / 2


def clip_probability(
    probability: NDArray[np.float64], thresholds: tuple[float, ...], lower: float | None, upper: float | None
) -> NDArray[np.float64]:
    """Return P(value > x) of a value with bounds. The probability beyond a bound is moved to the bound.

    Args:
        probability: P(value > x) without bounds, shape (..., X).
        thresholds: X values.
        lower: Lower bound, or None.
        upper: Upper bound, or None.
    """
    x = np.array(thresholds)
    if lower is not None:
        probability = np.where(x < lower, 1.0, probability)
    if upper is not None:
        probability = np.where(x >= upper, 0.0, probability)
    return probability
