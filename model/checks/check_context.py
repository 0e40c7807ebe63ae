"""Facts that the checks of whole series need besides the values."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl

from model.timegrid import TimeGrid, local_naive

_HOUR = 3_600_000_000  # microseconds


class CheckContext(NamedTuple):
    """The grid of a feed, the season, and the clock changes during the feed's time.

    Attributes:
        grid: Grid of the pipeline.
        season: Steps per season.
        clock_changes: Steps at which the zone's offset from UTC changes. Empty for daily grids.
        days_ahead: Days of the feed after the time at which it is read, 0 for a feed of the past.
    """

    grid: TimeGrid
    season: int
    clock_changes: list[int]
    days_ahead: int

    @classmethod
    def of(cls, times: pl.Series, grid: TimeGrid, season: int, as_of: datetime | None = None) -> CheckContext:
        """Return the context of a feed with these valid times that is read at `as_of`, None after all of them."""
        instants = times.to_physical()
        first, last = grid.index(np.array([instants.min(), instants.max()])).tolist()
        read_at = last if as_of is None else int(grid.index(pl.Series([as_of]).dt.epoch("us").to_numpy())[0])
        days_ahead = -(-max(0, last - read_at) // grid.steps_per_day)
        return cls(grid, season, _clock_changes(grid, first, last + 1), days_ahead)


def _clock_changes(grid: TimeGrid, first: int, last: int) -> list[int]:
    """Return the steps in [first, last) at which the zone's offset from UTC changes."""
    if grid.step is None:
        return []
    steps = np.arange(first, last + grid.steps_per_day, max(1, _HOUR // grid.step))
    instants = grid.start(steps)
    offset = local_naive(instants, grid.timezone).astype(np.int64) - instants
    return [int(step) for step in steps[1:][np.diff(offset) != 0]]
