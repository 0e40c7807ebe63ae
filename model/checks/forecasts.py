"""Checks of a forecast before it is published. A forecast that fails is replaced by the fallback."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SERIES_PER_BLOCK = 512  # A block of this size stays in the processor's cache.


def find_faults(quantiles: NDArray[np.float64], lower: float | None, upper: float | None) -> NDArray[np.object_]:
    """Return why the forecast of each series cannot be published.

    Args:
        quantiles: Shape (S, H, Q), in the target's unit.
        lower: Lower bound of the target, or None.
        upper: Upper bound of the target, or None.

    Returns:
        Texts of shape (S,), empty where a forecast has no fault.
    """
    reasons = np.full(len(quantiles), "", dtype=object)
    for start in range(0, len(quantiles), _SERIES_PER_BLOCK):
        block = quantiles[start : start + _SERIES_PER_BLOCK]
        # If values ascend from one finite number to another, all of them are finite.
        lowest, highest = block[..., 0], block[..., -1]
        is_sound = (block[..., 1:] >= block[..., :-1]).all(axis=(1, 2)) & np.isfinite(lowest).all(axis=1)
        is_sound &= np.isfinite(highest).all(axis=1)
        is_sound &= True if lower is None else (lowest >= lower).all(axis=1)
        is_sound &= True if upper is None else (highest <= upper).all(axis=1)
        rows = start + np.flatnonzero(~is_sound)
        reasons[rows] = _reasons(quantiles[rows], lower, upper)
    return reasons


def _reasons(quantiles: NDArray[np.float64], lower: float | None, upper: float | None) -> NDArray[np.object_]:
    """Return the first fault of each series, empty where there is none."""
    with np.errstate(invalid="ignore"):
        masks = {
            "the model's output is not finite": ~np.isfinite(quantiles).all(axis=(1, 2)),
            "the model's quantiles cross": (np.diff(quantiles, axis=2) < 0).any(axis=(1, 2)),
            "the model's output is below the lower bound": (
                (quantiles < lower).any(axis=(1, 2)) if lower is not None else np.zeros(len(quantiles), bool)
            ),
            "the model's output is above the upper bound": (
                (quantiles > upper).any(axis=(1, 2)) if upper is not None else np.zeros(len(quantiles), bool)
            ),
        }
    reasons = np.full(len(quantiles), "", dtype=object)
    for reason, mask in reversed(masks.items()):
        reasons[mask] = reason
    return reasons
