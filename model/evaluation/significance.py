"""Significance tests on loss differences: Diebold-Mariano, and Holm's adjustment."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class DieboldMariano(NamedTuple):
    """A test of equal loss. `statistic` is corrected for small samples, `uncorrected` as of 1995.

    Positive statistics speak against the first candidate. The one-sided p-values are those of its mean loss being
    lower (`better`) and higher (`worse`).
    """

    statistic: float
    uncorrected: float
    better: float
    worse: float
    nights: int
    overlap: int

    def figures(self) -> dict[str, float | int | None]:
        """For the manifest; None for a statistic that is not finite."""
        return {name: finite(value) for name, value in self._asdict().items()}


def diebold_mariano(difference: np.ndarray, overlap: int) -> DieboldMariano:
    """Test whether the mean of loss differentials is zero.

    Diebold and Mariano (1995), with the correction and the Student's t of Harvey, Leybourne and Newbold (1997). The
    variance is Bartlett's (Newey and West 1987), which cannot be negative.

    Args:
        difference: (N,) loss of the first candidate less that of the second, a night each, in order.
        overlap: nights that one horizon reaches over: differentials so far apart may correlate. Counted up to half
            of the nights, since the correction has no meaning for more.
    """
    from scipy.special import stdtr  # of the training extra: the nightly forecast does without

    count = len(difference)
    overlap = max(1, min(overlap, count // 2))
    mean = float(difference.mean()) if count else math.nan
    centred = difference - mean
    covariance = [float(centred[lag:] @ centred[: count - lag]) / max(count, 1) for lag in range(overlap)]
    variance = covariance[0] + 2 * sum((1 - lag / overlap) * covariance[lag] for lag in range(1, overlap))
    # Rounding makes constant differentials vary by some 1e-16 of themselves.
    if count < 2 or not variance > (1e-12 * abs(mean)) ** 2:
        statistic = 0.0 if count < 2 or mean == 0 else math.copysign(math.inf, mean)
        uncorrected = statistic
    else:
        uncorrected = mean / math.sqrt(variance / count)
        statistic = uncorrected * math.sqrt((count + 1 - 2 * overlap + overlap * (overlap - 1) / count) / count)
    better, worse = (float(stdtr(max(count - 1, 1), side * statistic)) for side in (1, -1))
    return DieboldMariano(statistic, uncorrected, better, worse, count, overlap)


def holm(p_values: np.ndarray) -> np.ndarray:
    """(G,) p-values adjusted so that all tests together err at the level of one (Holm 1979)."""
    order = np.argsort(p_values)
    left = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * left), 1.0)
    return adjusted


def finite(value: float) -> float | None:
    """Return the value, or None if it is not finite: JSON has no NaN."""
    return value if math.isfinite(value) else None
