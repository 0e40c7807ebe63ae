"""Calibration of the interval width.

The interval scale is a factor on the distance of every quantile from the median. The scale required by issue times
outside the fit is a split conformal prediction: its residuals are measured in half-widths of the interval (Lei et al.
2018, section 5.2; Romano et al. 2019). Errors of a few weeks are correlated, so one training is weak evidence. Its
required scale is averaged with a prior and with the required scales of earlier trainings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Prior, weighted as one observation. The network is at its best on the early-stopping windows, so these require too
# narrow intervals: by a fifth for four of the five tasks of the league, in the years before its test periods
# (docs/experiments.md).
_PRIOR = 1.2
_LIMITS = (0.5, 2.0)  # of one observation
_MOST_RATIOS = 20_000  # More ratios of one table do not change the result.


def interval_ratios(
    quantiles: NDArray[np.floating], actual: NDArray[np.floating], levels: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return the distance of each actual from the median, divided by that of the outer quantile on the same side.

    Args:
        quantiles: Shape (..., Q), in the target's unit.
        actual: Shape (...,), NaN where unknown.
        levels: Quantile levels, ascending, with 0.5.

    Returns:
        At most 20,000 ratios. Rows with an unknown actual, infinite quantiles or no width are left out.
    """
    middle = levels.index(0.5)
    is_known = ~np.isnan(actual) & np.isfinite(quantiles).all(axis=-1)
    values, known_quantiles = actual[is_known].astype(np.float64), quantiles[is_known].astype(np.float64)
    step = 1 + len(values) // _MOST_RATIOS
    values, known_quantiles = values[::step], known_quantiles[::step]
    median = known_quantiles[:, middle]
    residual = values - median
    below, above = median - known_quantiles[:, 0], known_quantiles[:, -1] - median
    width = np.where((residual < 0) & (middle > 0) | (middle == len(levels) - 1), below, above)
    has_width = width > 0
    ratios: NDArray[np.float64] = np.abs(residual[has_width]) / width[has_width]
    return ratios


def required_scale(ratios: NDArray[np.float64], levels: tuple[float, ...]) -> float | None:
    """Return the interval scale with which the outer interval would have covered its share of the actuals.

    Args:
        ratios: Result of `interval_ratios`.
        levels: Quantile levels, ascending.

    Returns:
        None if there are no ratios.
    """
    return float(np.quantile(ratios, levels[-1] - levels[0])) if len(ratios) else None


def interval_scale(current: float | None, past: Sequence[float] = ()) -> float:
    """Return the interval scale to apply, the geometric mean of a prior and of all required scales.

    Args:
        current: Scale required by the validation windows of this training, None if unknown.
        past: Scales required of earlier models by issue times that they had not seen.
    """
    required = [current, *past] if current is not None else list(past)
    return float(np.exp(np.mean(np.log([_PRIOR, *np.clip(required, *_LIMITS)]))))
