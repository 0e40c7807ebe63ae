"""Significance tests on loss differences: the Diebold-Mariano test and Holm's adjustment."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.schemas.records import TestRecord


class DieboldMariano(NamedTuple):
    """Result of a test of equal loss.

    Attributes:
        statistic: Test statistic with the correction for small samples. If positive, the first candidate is worse.
        uncorrected: Statistic of Diebold and Mariano (1995).
        better: One-sided p-value of the first candidate's mean loss being lower.
        worse: One-sided p-value of the first candidate's mean loss being higher.
        issue_count: Number of issue times.
        overlap: Number of issue times that one horizon covers.
    """

    statistic: float
    uncorrected: float
    better: float
    worse: float
    issue_count: int
    overlap: int

    def to_record(self) -> TestRecord:
        """Return the result for a manifest."""
        return {
            "statistic": finite(self.statistic),
            "uncorrected": finite(self.uncorrected),
            "better": finite(self.better),
            "worse": finite(self.worse),
            "nights": self.issue_count,
            "overlap": self.overlap,
        }


def diebold_mariano(difference: NDArray[np.float64], overlap: int) -> DieboldMariano:
    """Test whether the mean of loss differences is zero.

    The test is that of Diebold and Mariano (1995), with the correction and Student's t of Harvey, Leybourne and Newbold
    (1997). The variance is Bartlett's (Newey and West 1987), which cannot be negative.

    Args:
        difference: Loss of the first candidate minus that of the second, one per issue time, in order, shape (N,).
        overlap: Number of issue times that one horizon covers. Differences so close may be correlated. At most half of
            the issue times count, because the correction is undefined for more.
    """
    from scipy.special import stdtr  # Part of the training extra, which the nightly forecast does not need.

    count = len(difference)
    overlap = max(1, min(overlap, count // 2))
    mean = float(difference.mean()) if count else math.nan
    centred = difference - mean
    covariance = [float(centred[lag:] @ centred[: count - lag]) / max(count, 1) for lag in range(overlap)]
    variance = covariance[0] + 2 * sum((1 - lag / overlap) * covariance[lag] for lag in range(1, overlap))
    # Rounding gives constant differences a relative variation of about 1e-16.
    if count < 2 or not variance > (1e-12 * abs(mean)) ** 2:
        statistic = 0.0 if count < 2 or mean == 0 else math.copysign(math.inf, mean)
        uncorrected = statistic
    else:
        uncorrected = mean / math.sqrt(variance / count)
        statistic = uncorrected * math.sqrt((count + 1 - 2 * overlap + overlap * (overlap - 1) / count) / count)
    better, worse = (float(stdtr(max(count - 1, 1), side * statistic)) for side in (1, -1))
    return DieboldMariano(statistic, uncorrected, better, worse, count, overlap)


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values adjusted so that all tests together err at the level of one (Holm 1979).

    Args:
        p_values: Shape (G,).

    Returns:
        Array of shape (G,).
    """
    order = np.argsort(p_values)
    remaining = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * remaining), 1.0)
    return adjusted


def finite(value: float) -> float | None:
    """Return the value, or None if it is not finite: JSON has no NaN."""
    return value if math.isfinite(value) else None
