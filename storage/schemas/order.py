"""Order of table rows: series by series, ascending in time."""

from __future__ import annotations

import numpy as np
import polars as pl

_AT_ONCE = 262_144  # rows looked at together: they stay in the processor's cache


def series_bounds(keys: pl.DataFrame) -> np.ndarray | None:
    """Rows at which the series begin, and the number of rows at the end (S + 1,); None for rows that are not in order.

    In order is: series come one after the other and valid_time ascends within each, so that no key can occur twice.
    """
    runs = keys["series_id"].rle().struct.unnest()
    bounds = np.concatenate([[0], np.cumsum(runs["len"].to_numpy(), dtype=np.int64)])
    times = keys["valid_time"].to_physical()
    if runs["value"].n_unique() < len(runs) or times.null_count():
        return None
    for first in range(0, len(keys) - 1, _AT_ONCE):
        part = times.slice(first, _AT_ONCE + 1).to_numpy()
        falls = np.flatnonzero(part[1:] <= part[:-1]) + (first + 1)
        if len(falls) and (bounds[np.searchsorted(bounds, falls)] != falls).any():
            return None
    return bounds


def is_sorted(keys: pl.DataFrame) -> bool:
    """Whether series come one after the other and valid_time ascends within each: then no key can occur twice."""
    return series_bounds(keys) is not None
