"""The distribution that a softmax head forecasts, asked for probabilities: P(value > x).

It is the very one whose quantiles are published. The members' quantile functions are averaged, level by level
(Vincentization: Ratcliff 1979), as the quantiles are; the mean of their probabilities would be a wider distribution.
Shapes: B windows, H horizon, M members, N bins, X values asked for.
"""

from __future__ import annotations

import numpy as np

_HALVINGS = 40  # of the levels between 0 and 1: to 1e-12
_DIGITS = 11  # of a probability; what is beyond is of rounding, and would keep 0 and 1 from being exact
_TINY = np.finfo(np.float64).tiny


def probability_above(edges: np.ndarray, probabilities: np.ndarray, above: tuple[float, ...]) -> np.ndarray:
    """(B, H, X) P(value > x) for each x of `above`, before any bounds.

    Args:
        edges: (B, H, M, N + 1) of the bins in the target's unit; the density within a bin is constant.
        probabilities: (B, H, M, N) of the bins.
    """
    # float64, and a sum of exactly 1: a share of 1 - 1e-7 must not leave a tail that never ends.
    share = probabilities.astype(np.float64)
    share /= share.sum(axis=-1, keepdims=True)
    low, width = edges[..., :-1].astype(np.float64), np.diff(edges.astype(np.float64), axis=-1)
    if edges.shape[2] == 1:
        below = [(share * np.clip((x - low) / np.maximum(width, _TINY), 0, 1)).sum(axis=(2, 3)) for x in above]
    else:
        before = np.cumsum(share, axis=-1) - share
        below = [_level(x, low[..., 0], width, share, before) for x in above]
    return np.round(1 - np.stack(below, axis=-1), _DIGITS)


def _level(x: float, first: np.ndarray, width: np.ndarray, share: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(B, H) the level whose quantile is `x`: halved towards, since the members' bins end at other levels each."""
    under, over = np.zeros(first.shape[:2]), np.ones(first.shape[:2])
    for _ in range(_HALVINGS):
        level = (under + over) / 2
        passed = np.clip((level[..., None, None] - before) / np.maximum(share, _TINY), 0, 1)
        quantile = (first + (passed * width).sum(axis=-1)).mean(axis=-1)
        under, over = np.where(quantile <= x, level, under), np.where(quantile <= x, over, level)
    return (under + over) / 2


def clip_probability(
    probability: np.ndarray, above: tuple[float, ...], lower: float | None, upper: float | None
) -> np.ndarray:
    """`probability` (..., X) of a value that cannot leave its bounds: what would lie beyond is at the limit."""
    asked = np.array(above)
    if lower is not None:
        probability = np.where(asked < lower, 1.0, probability)
    if upper is not None:
        probability = np.where(asked >= upper, 0.0, probability)
    return probability
