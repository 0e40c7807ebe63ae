"""What moved a forecast: parts of a window are hidden, one at a time, and the forecast is made again.

Occlusion (Zeiler and Fergus 2014): it asks the model that serves and needs nothing of its inside. Hidden is NaN, as a
value that is not visible, which the network knows from training. Parts that say the same cover for each other, so that
the changes do not add up to the forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from model.forecaster import Forecaster
from model.windows import Windows


@dataclass(frozen=True)
class OcclusionEffects:
    """By how much the median was moved, (H,) each in the target's unit: with the part less without it.

    Attributes:
        segments: (M, H), the target in each segment of the context, oldest first.
        covariates: by name, the covariate hidden wholly.
        horizon_covariates: by name, the known_future covariate hidden over the horizon alone.
    """

    segments: np.ndarray
    covariates: dict[str, np.ndarray]
    horizon_covariates: dict[str, np.ndarray]


def segment_bounds(context: int, segment: int) -> np.ndarray:
    """(M + 1,) columns of the context at which its segments begin, and its end; the oldest may be a part of one."""
    count = -(-context // segment)
    return np.maximum(context - segment * np.arange(count, -1, -1), 0)


def occlusion_effects(forecaster: Forecaster, window: Windows) -> OcclusionEffects:
    """Hide each segment of the target and each covariate of one `window`, and see what becomes of the median."""
    spec = forecaster.spec
    bounds = segment_bounds(spec.context, spec.segment)
    known, observed = list(spec.known_future), list(spec.observed)
    count = 1 + len(bounds) - 1 + 2 * len(known) + len(observed)
    target, future, past = (np.repeat(part, count, axis=0) for part in (
        window.target, window.known_future, window.observed
    ))  # fmt: skip
    row = 1
    for begin, end in pairwise(bounds):
        target[row, begin:end] = np.nan
        row += 1
    for place in range(len(known)):
        future[row, :, place] = np.nan
        future[row + len(known), spec.context :, place] = np.nan
        row += 1
    row += len(known)
    for place in range(len(observed)):
        past[row, :, place] = np.nan
        row += 1
    hidden = Windows(target, future, past, window.calendar, np.repeat(window.series, count))
    median = forecaster.quantiles(hidden)[:, :, spec.levels.index(0.5)]
    change = median[0] - median[1:]
    segments, wholly, ahead, seen = np.split(change, np.cumsum([len(bounds) - 1, len(known), len(known)]))
    return OcclusionEffects(
        segments,
        dict(zip([*known, *observed], [*wholly, *seen], strict=True)),
        dict(zip(known, ahead, strict=True)),
    )
