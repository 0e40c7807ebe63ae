"""Check of the row order of tables: rows of a series are contiguous and ascend in time."""

from __future__ import annotations

import numpy as np
import polars as pl

_BATCH_ROWS = 262_144  # small enough for the processor's cache


def series_bounds(keys: pl.DataFrame) -> np.ndarray | None:
    """Return the row numbers at which series begin, or None if the rows are not sorted.

    Rows are sorted if those of a series are contiguous and their valid_time ascends strictly. Then no series and
    period occurs twice.

    Args:
        keys: Columns series_id and valid_time.

    Returns:
        Array of shape (S + 1,), whose last element is the number of rows.
    """
    runs = keys["series_id"].rle().struct.unnest()
    bounds = np.concatenate([[0], np.cumsum(runs["len"].to_numpy(), dtype=np.int64)])
    times = keys["valid_time"].to_physical()
    if runs["value"].n_unique() < len(runs) or times.null_count():
        return None
    for first in range(0, len(keys) - 1, _BATCH_ROWS):
        part = times.slice(first, _BATCH_ROWS + 1).to_numpy()
        falls = np.flatnonzero(part[1:] <= part[:-1]) + (first + 1)
        if len(falls) and (bounds[np.searchsorted(bounds, falls)] != falls).any():
            return None
    return bounds


def is_sorted(keys: pl.DataFrame) -> bool:
    """Return whether rows of a series are contiguous and ascend in time, so that no series and period occurs twice."""
    return series_bounds(keys) is not None
