"""Calibration: how much wider the intervals must be than the network, fitted on other nights, takes them to be."""

from __future__ import annotations

import numpy as np

# On the years before the league's test periods the intervals of four tasks out of five had to be a fifth wider. What a
# few weeks of nights say is noisy (their errors go together), so that they count half: docs/experiments.md.
_PRIOR = 1.2
_LIMITS = (0.7, 2.0)  # what a few weeks may ask for


def stretch(quantiles: np.ndarray, actual: np.ndarray, levels: tuple[float, ...]) -> float:
    """The factor by which every quantile's distance from the median is multiplied.

    The geometric mean of a prior and of the factor that would have made the outer interval cover, on nights that the
    network was not fitted on, what it says: split conformal prediction with the interval's half-width as the unit of
    the residual (Lei et al. 2018, section 5.2; Romano et al. 2019).

    Args:
        quantiles: (B, H, Q) forecasts of such nights, in the target's unit.
        actual: (B, H), NaN where unknown.
        levels: (Q,), ascending, with 0.5.
    """
    middle = levels.index(0.5)
    if len(levels) == 1:
        return 1.0
    known = ~np.isnan(actual)
    values, spread = actual[known].astype(np.float64), quantiles[known].astype(np.float64)
    residual = values - spread[:, middle]
    below, above = spread[:, middle] - spread[:, 0], spread[:, -1] - spread[:, middle]
    width = np.where((residual < 0) & (middle > 0) | (middle == len(levels) - 1), below, above)
    usable = width > 0
    if not usable.any():
        return 1.0
    asked = np.quantile(np.abs(residual[usable]) / width[usable], levels[-1] - levels[0])
    return float(np.sqrt(_PRIOR * np.clip(asked, *_LIMITS)))
