"""Calibration: how much wider the intervals must be than the network takes them to be.

What a network asks for on nights that it was not fitted on is a factor on every quantile's distance from the median
(split conformal prediction with the interval's half-width as the unit of the residual: Lei et al. 2018, section 5.2;
Romano et al. 2019). A few weeks of nights say little, since their errors go together: the nights of one training are
averaged with those on which earlier ones were judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# On the years before the league's test periods the intervals of four tasks out of five had to be a fifth wider than
# the nights of the early stop say, on which the network is at its best: docs/experiments.md. One word of many.
_PRIOR = 1.2
_LIMITS = (0.5, 2.0)  # what a few weeks may ask for
_RATIOS = 20_000  # looked at of one table; more say the same


def interval_ratios(quantiles: np.ndarray, actual: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """(n,) distance of the actual from the median over that of the outer quantile on its side; of 20,000 at most.

    Args:
        quantiles: (..., Q) in the target's unit.
        actual: (...,), NaN where unknown.
        levels: (Q,), ascending, with 0.5.
    """
    middle = levels.index(0.5)
    known = ~np.isnan(actual) & np.isfinite(quantiles).all(axis=-1)
    values, spread = actual[known].astype(np.float64), quantiles[known].astype(np.float64)
    step = 1 + len(values) // _RATIOS
    values, spread = values[::step], spread[::step]
    residual = values - spread[:, middle]
    below, above = spread[:, middle] - spread[:, 0], spread[:, -1] - spread[:, middle]
    width = np.where((residual < 0) & (middle > 0) | (middle == len(levels) - 1), below, above)
    usable = width > 0
    return np.abs(residual[usable]) / width[usable]


def required_scale(found: np.ndarray, levels: tuple[float, ...]) -> float | None:
    """The factor with which the outer interval would have held its share of the actuals; None if nothing says so."""
    return float(np.quantile(found, levels[-1] - levels[0])) if len(found) else None


def interval_scale(now: float | None, past: Sequence[float] = ()) -> float:
    """The factor to apply: the geometric mean of a prior, of what the nights of this training ask for, and of what
    was right for earlier networks on nights that none of them had seen.
    """
    said = [now, *past] if now is not None else list(past)
    return float(np.exp(np.mean(np.log([_PRIOR, *np.clip(said, *_LIMITS)]))))
