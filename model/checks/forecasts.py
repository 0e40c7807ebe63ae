"""Checks that a forecast passes before it is published: what fails one is replaced, never published."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 512  # series: they stay in the processor's cache


def find_faults(quantiles: np.ndarray, lower: float | None, upper: float | None) -> np.ndarray:
    """(S,) reason why a series' forecast (S, H, Q) cannot be published, '' where it can."""
    reasons = np.full(len(quantiles), "", dtype=object)
    for start in range(0, len(quantiles), _AT_ONCE):
        part = quantiles[start : start + _AT_ONCE]
        # What ascends from one finite number to another holds no other.
        low, high = part[..., 0], part[..., -1]
        sound = (part[..., 1:] >= part[..., :-1]).all(axis=(1, 2)) & np.isfinite(low).all(axis=1)
        sound &= np.isfinite(high).all(axis=1)
        sound &= True if lower is None else (low >= lower).all(axis=1)
        sound &= True if upper is None else (high <= upper).all(axis=1)
        rows = start + np.flatnonzero(~sound)
        reasons[rows] = _reasons(quantiles[rows], lower, upper)
    return reasons


def _reasons(quantiles: np.ndarray, lower: float | None, upper: float | None) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        found = {
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
    for reason, where in reversed(found.items()):
        reasons[where] = reason
    return reasons
