"""Evidence that a mean over issue times is above zero by more than chance.

The evidence is a number of standard errors. Where the horizons of neighbouring issue times overlap, their errors are
correlated. If a horizon covers d issue times, n of them count as n / d independent ones. Errors further apart than the
horizon are taken as independent (Diebold and Mariano 1995). If few count, more standard errors are required, as in
Student's t test.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A lower limit on the independent issue times, so that an excess far beyond a limit counts however long the horizon is.
_FEWEST_INDEPENDENT = 3.0


def standard_errors_above_zero(
    values: NDArray[np.float64],
    overlap: int,
    required: float,
    min_variance: NDArray[np.float64] | float = 0.0,
    mean_of: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return by how many standard errors the mean of each row is above zero.

    Args:
        values: One value per series and issue time, shape (S, T), NaN where unknown.
        overlap: Number of issue times that one horizon covers.
        required: Required number of standard errors, for a normal distribution.
        min_variance: Lower limit on the variance of a value, shape (S,).
        mean_of: Later values whose mean is tested instead, shape (S, R). Their variance is that of `values`.

    Returns:
        Array of shape (S,), NaN where the mean is not above zero by as many standard errors as required.
    """
    is_known = ~np.isnan(values)
    count = is_known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(values, axis=1) / count
        deviation = np.where(is_known, values - mean[:, None], 0.0)
        independent = np.maximum(count / overlap, _FEWEST_INDEPENDENT)
        # Correlated values show less variance than there is.
        variance = np.maximum((deviation**2).sum(axis=1) / count / (1 - 1 / independent), min_variance)
        if mean_of is None:
            error = np.sqrt(variance / independent)
        else:
            later_count = (~np.isnan(mean_of)).sum(axis=1)
            error = np.sqrt(variance / independent * (1 + count / later_count))
            mean = np.nansum(mean_of, axis=1) / later_count
        # Without any variance, any excess is certain.
        size = np.where(error > 0, mean / error, np.where(mean > 0, np.inf, 0.0))
        return np.where((count > 0) & (size > _student_quantile(required, independent - 1)), size, np.nan)


def _student_quantile(normal_quantile: float, freedom: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quantile of Student's t at the probability of a normal quantile (Abramowitz and Stegun, 26.7.5).

    Args:
        normal_quantile: Quantile of the normal distribution.
        freedom: Degrees of freedom, shape (S,).
    """
    z = normal_quantile
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum((term / freedom**power for power, term in enumerate(terms)), np.zeros_like(freedom))
