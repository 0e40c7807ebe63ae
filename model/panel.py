"""Dense panels: one array per variable with a row per series and a column per step, and the time each value was known.

A channel stores revisions as layers. Layer 0 holds the first known value of every cell, layer r the r-th revision.
A view as of an instant takes, for each cell, the last layer that was available then.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.calendar import calendar_covariates
from model.timegrid import TimeGrid

#: Availability of a value that is known at every issue time (int64 us).
ALWAYS = np.iinfo(np.int64).min
#: Availability of a cell without a value (int64 us).
NEVER = np.iinfo(np.int64).max

_Scalar = TypeVar("_Scalar", bound=np.generic)


class RevisionLayer(NamedTuple):
    """One revision of every cell of a channel.

    Attributes:
        values: Shape (S, N), NaN where no value is known.
        available: Microseconds at which each value became known, shape (S, N). None: all are always available.
    """

    values: NDArray[np.float32]
    available: NDArray[np.int64] | None


@dataclass(frozen=True)
class Channel:
    """One variable over series and steps. S is 1 for a covariate that all series share."""

    name: str
    layers: tuple[RevisionLayer, ...]

    def as_of(
        self, rows: NDArray[np.int64], starts: NDArray[np.int64], length: int, issues: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the values known at the issue times.

        Args:
            rows: Series of each slice, shape (B,).
            starts: First column of each slice, shape (B,).
            length: Number of columns of every slice.
            issues: Issue time of each slice in microseconds, shape (B,).

        Returns:
            Array of shape (B, length), NaN where no value was available.
        """
        rows = rows if len(self.layers[0].values) > 1 else np.zeros_like(rows)
        if len(self.layers) == 1 and self.layers[0].available is None:
            return _gather(self.layers[0].values, rows, starts, length)
        known = np.full((len(rows), length), np.nan, np.float32)
        for layer in self.layers:
            values = _gather(layer.values, rows, starts, length)
            if layer.available is None:
                known = values
            else:
                visible = _gather(layer.available, rows, starts, length) <= issues[:, None]
                known = np.where(visible, values, known)
        return known

    def final(self, rows: NDArray[np.int64], starts: NDArray[np.int64], length: int) -> NDArray[np.float32]:
        """Return the last known value of each cell, whenever it became known. Arguments and shape as in `as_of`."""
        return self.as_of(rows, starts, length, np.full(len(rows), NEVER - 1))


@dataclass(frozen=True)
class Panel:
    """All channels of a pipeline on one grid. Column 0 is step `first`, and every channel has N columns."""

    grid: TimeGrid
    series: tuple[str, ...]
    first: int
    target: Channel
    known_future: tuple[Channel, ...]
    observed: tuple[Channel, ...]

    @cached_property
    def calendar(self) -> NDArray[np.float32]:
        """The calendar covariates of the steps, shape (N, len(CALENDAR))."""
        return calendar_covariates(self.grid, self.first + np.arange(self.columns))

    @property
    def columns(self) -> int:
        """N, the number of steps."""
        return int(self.target.layers[0].values.shape[1])

    def take(self, rows: NDArray[np.int64]) -> Panel:
        """Return the panel of the series in these rows."""
        count = len(self.series)

        def select(channel: Channel) -> Channel:
            # A covariate that all series share has one row.
            if len(channel.layers[0].values) != count:
                return channel
            return Channel(channel.name, tuple(
                RevisionLayer(layer.values[rows], None if layer.available is None else layer.available[rows])
                for layer in channel.layers
            ))  # fmt: skip

        return replace(
            self, series=tuple(self.series[row] for row in rows), target=select(self.target),
            known_future=tuple(map(select, self.known_future)), observed=tuple(map(select, self.observed)),
        )  # fmt: skip

    def sha256(self) -> str:
        """Return a hash of all values, their availability, the series and the grid."""
        grid = self.grid
        identity = (grid.frequency, grid.timezone, grid.holidays, grid.day_start, self.first, self.series)
        if grid.offset:  # The hashes of all other panels stay as they were.
            identity = (*identity, grid.offset)  # type: ignore[assignment]
        digest = hashlib.sha256(repr(identity).encode())
        for channel in (self.target, *self.known_future, *self.observed):
            for layer in channel.layers:
                for array in layer:
                    if array is None:
                        digest.update(b"always")
                        continue
                    digest.update(f"{channel.name}{array.shape}{array.dtype}".encode())
                    digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def _gather(
    table: NDArray[_Scalar], rows: NDArray[np.int64], starts: NDArray[np.int64], length: int
) -> NDArray[_Scalar]:
    """Return slices of `table` (S, N), shape (B, length), each from one row."""
    if len(starts) and (starts == starts[0]).all():
        same_columns: NDArray[_Scalar] = table[rows, starts[0] : starts[0] + length]
        return same_columns
    # The strided view copies contiguous runs only.
    view: NDArray[Any] = np.lib.stride_tricks.sliding_window_view(table, length, axis=1)
    slices: NDArray[_Scalar] = view[rows, starts]
    return slices
