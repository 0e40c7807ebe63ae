"""Checks that a forecast passes before it is published: what fails one is replaced, never published."""

from __future__ import annotations

import numpy as np


def faults(quantiles: np.ndarray, lower: float | None, upper: float | None) -> np.ndarray:
    """(S,) reason why a series' forecast (S, H, Q) cannot be published, '' where it can."""
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
