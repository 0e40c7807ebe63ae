"""Scores of forecasts: per row first, aggregated apart."""

from __future__ import annotations

import numpy as np


def pinball(quantiles: np.ndarray, levels: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Mean over levels of max(q e, (q - 1) e), e = actual - quantile, no factor 2 (Koenker, Bassett 1978).

    Args:
        quantiles: (..., Q); levels: (Q,); actual: (...,), NaN where it is not known.

    Returns:
        (...,) in the target's unit, NaN where the actual is.
    """
    error = actual[..., None] - quantiles
    return np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)


def absolute_error(quantiles: np.ndarray, levels: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """|actual - median|, (...,)."""
    return np.abs(actual - quantiles[..., int(np.argmin(np.abs(levels - 0.5)))])


def covered(quantiles: np.ndarray, levels: np.ndarray, actual: np.ndarray, mass: float = 0.8) -> np.ndarray:
    """1.0 where the central interval of `mass` holds the actual, NaN where it is not known.

    Its ends are interpolated between the quantiles given; NaN throughout if they do not reach that far.
    """
    low, high = (1 - mass) / 2, (1 + mass) / 2
    if levels[0] > low + 1e-9 or levels[-1] < high - 1e-9:
        return np.full(actual.shape, np.nan)
    below, above = (_at_level(quantiles, levels, level) for level in (low, high))
    inside = ((actual >= below) & (actual <= above)).astype(np.float64)
    return np.where(np.isnan(actual), np.nan, inside)


def pit(quantiles: np.ndarray, levels: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Level at which the actual lies (probability integral transform; Dawid 1984), (...,) in (0, 1).

    Between two quantiles it is interpolated linearly; beyond the outer ones it is the middle of the mass that
    lies there (below q10: 0.05); where several quantiles equal the actual, the middle of their levels. Uniform
    if the forecasts are calibrated. NaN where the actual is not known.
    """
    value = actual[..., None]
    below, upto = (quantiles < value).sum(axis=-1), (quantiles <= value).sum(axis=-1)
    edges = np.concatenate([[levels[0] / 2], levels, [(1 + levels[-1]) / 2]])
    # The ends of each gap; beyond the outer quantiles both ends are the middle of the mass there.
    low = np.where(below == len(levels), len(levels) + 1, below)
    high = np.where(below == 0, 0, below + 1)
    ends = [
        np.take_along_axis(quantiles, np.clip(i - 1, 0, len(levels) - 1)[..., None], -1)[..., 0] for i in (low, high)
    ]
    width = ends[1] - ends[0]
    share = np.where(width > 0, (actual - ends[0]) / np.where(width > 0, width, 1), 0.0)
    between = edges[low] + share * (edges[high] - edges[low])
    level = np.where(upto > below, (edges[np.minimum(below + 1, len(levels))] + edges[upto]) / 2, between)
    return np.where(np.isnan(actual), np.nan, level)


#: Mean losses and coverage, by the names they have in scores: each (quantiles, levels, actual) -> (...,).
MEASURES = {"pinball": pinball, "mae": absolute_error, "coverage_80": covered}


def summary(quantiles: np.ndarray, levels: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """`n`, mean `pinball`, `mae` and `coverage_80` over the rows whose actual is known."""
    known = ~np.isnan(actual)
    quantiles, actual = quantiles[known], actual[known]
    if not actual.size:
        return {"n": 0, **dict.fromkeys(MEASURES, float("nan"))}
    return {"n": int(actual.size)} | {
        name: float(measure(quantiles, levels, actual).mean()) for name, measure in MEASURES.items()
    }


def _at_level(quantiles: np.ndarray, levels: np.ndarray, level: float) -> np.ndarray:
    high = int(np.searchsorted(levels, level - 1e-9))
    low = max(high - 1, 0) if levels[high] > level + 1e-9 else high
    if low == high:
        return quantiles[..., high]
    share = (level - levels[low]) / (levels[high] - levels[low])
    return quantiles[..., low] * (1 - share) + quantiles[..., high] * share
