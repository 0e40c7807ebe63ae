"""Occlusion: how much each input moves a forecast, found by hiding one input at a time and forecasting again.

The method (Zeiler and Fergus 2014) only runs the serving model. A hidden value is NaN, like a value that is not
visible, which the network knows from training. Inputs with the same information replace each other, so the effects do
not add up to the forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.forecaster import Forecaster
from model.windows import Windows


@dataclass(frozen=True)
class OcclusionEffects:
    """Forecast median minus the median without an input, in the target's unit, H steps each.

    Attributes:
        segments: Effect of the target in each of M segments of the context, oldest first, shape (M, H).
        covariates: Effect of each covariate, by name, shape (H,).
        horizon_covariates: Effect of each known_future covariate over the horizon only, by name, shape (H,).
    """

    segments: NDArray[np.float64]
    covariates: dict[str, NDArray[np.float64]]
    horizon_covariates: dict[str, NDArray[np.float64]]


def segment_bounds(context: int, segment: int) -> NDArray[np.int64]:
    """Return the columns at which the M segments of a context begin, and its end, shape (M + 1,).

    The oldest segment may be shorter than the others.
    """
    count = -(-context // segment)
    return np.maximum(context - segment * np.arange(count, -1, -1), 0)


def occlusion_effects(forecaster: Forecaster, window: Windows) -> OcclusionEffects:
    """Hide each segment of the target and each covariate of one window, and return the effects on the median."""
    spec = forecaster.spec
    bounds = segment_bounds(spec.context, spec.segment)
    known, observed = list(spec.known_future), list(spec.observed)
    # Row 0 hides nothing. Next are the segments, the known_future covariates, these over the horizon, and the observed.
    count = 1 + len(bounds) - 1 + 2 * len(known) + len(observed)
    target, future, past = (np.repeat(values, count, axis=0) for values in (
        window.target, window.known_future, window.observed
    ))  # fmt: skip
    row = 1
    for begin, end in pairwise(bounds):
        target[row, begin:end] = np.nan
        row += 1
    for number in range(len(known)):
        future[row, :, number] = np.nan
        future[row + len(known), spec.context :, number] = np.nan
        row += 1
    row += len(known)
    for number in range(len(observed)):
        past[row, :, number] = np.nan
        row += 1
    hidden = Windows(target, future, past, window.calendar, np.repeat(window.series, count))
    median = forecaster.quantiles(hidden)[:, :, spec.levels.index(0.5)]
    effects = median[0] - median[1:]
    groups = np.split(effects, np.cumsum([len(bounds) - 1, len(known), len(known)]))
    segments, known_effects, horizon_effects, observed_effects = groups
    return OcclusionEffects(
        segments,
        dict(zip([*known, *observed], [*known_effects, *observed_effects], strict=True)),
        dict(zip(known, horizon_effects, strict=True)),
    )
