"""Newest values that are impossible beside those before them: a slip of the decimal point, or another unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Ratio to the largest value before. A price or a load does not rise a hundredfold from one day to the next.
FACTOR = 100
DAYS = 4  # newest days that are examined, at most half of the values
_FEWEST_KNOWN = 48  # values before them, or a third of what the window can hold


def find_implausible(values: NDArray[np.floating], steps_per_day: int) -> NDArray[np.bool_] | None:
    """Return which of the newest values are over FACTOR times all values before the newest DAYS days.

    A longer jump is not found, because then the new level may be the right one.

    Args:
        values: Values of S series up to the issue time, shape (S, N), NaN where not visible.
        steps_per_day: Steps in a day.

    Returns:
        Array of shape (S, N), or None if all values are plausible.
    """
    count = values.shape[1]
    recent = min(DAYS * steps_per_day, count // 2)
    if not recent:
        return None
    size = np.abs(values)
    largest_recent = np.fmax.reduce(size[:, -recent:], axis=1)
    largest_before = np.fmax.reduce(size[:, :-recent], axis=1)
    rows = np.flatnonzero((largest_before > 0) & (largest_recent > FACTOR * largest_before))
    fewest = min(_FEWEST_KNOWN, (count - recent) // 3)
    rows = rows[(~np.isnan(size[rows, :-recent])).sum(axis=1) >= fewest]
    if not len(rows):
        return None
    result = np.zeros(values.shape, bool)
    result[rows, -recent:] = size[rows, -recent:] > FACTOR * largest_before[rows, None]
    return result


def without_implausible(values: NDArray[np.floating], steps_per_day: int) -> NDArray[np.floating]:
    """Return the values, NaN where they are implausible. Arguments are those of `find_implausible`."""
    is_implausible = find_implausible(values, steps_per_day)
    return values if is_implausible is None else np.where(is_implausible, np.float32(np.nan), values)
