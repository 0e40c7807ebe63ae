"""The series of a feed as flat arrays, in blocks that stay in the processor's cache.

Flat arrays hold one series after the other, with ascending times within each: N rows of S series. No block cuts a
series.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.timegrid import TimeGrid
from storage.schemas import series_bounds

_ROW = ":row"  # A colon keeps this name apart from the columns of a feed.
_ROWS_PER_BLOCK = 65_536  # more if a single series is longer


class Neighbours(NamedTuple):
    """The values one step and one season before and after each value, in short.

    Attributes:
        smallest: Shape (N,), infinite without neighbours.
        largest: Shape (N,), zero without neighbours.
        known: Number of known neighbours, shape (N,).
    """

    smallest: NDArray[np.float64]
    largest: NDArray[np.float64]
    known: NDArray[np.int8]


@dataclass(frozen=True)
class FlatSeries:
    """A block of series. Series s has rows bounds[s] to bounds[s + 1].

    Attributes:
        values: Shape (N,), NaN where missing.
        steps: Step numbers, shape (N,).
        bounds: Shape (S + 1,).
        first_series: Number that the block's first series has in the feed.
        first_row: Number that the block's first row has in the feed.
    """

    values: NDArray[np.float64]
    steps: NDArray[np.int64]
    bounds: NDArray[np.int64]
    first_series: int = 0
    first_row: int = 0

    @cached_property
    def series(self) -> NDArray[np.int32]:
        """Number of the series of each row, from 0, shape (N,)."""
        return np.repeat(np.arange(len(self.bounds) - 1, dtype=np.int32), np.diff(self.bounds))

    @cached_property
    def is_present(self) -> NDArray[np.bool_]:
        """Mask of known values, shape (N,)."""
        return ~np.isnan(self.values)

    @cached_property
    def filled(self) -> NDArray[np.float64]:
        """Values with 0 for missing ones, shape (N,)."""
        return self.values if self.is_present.all() else np.nan_to_num(self.values)

    @cached_property
    def total(self) -> NDArray[np.float64]:
        """Sum of the known values of each series, shape (S,)."""
        return np.add.reduceat(self.filled, self.bounds[:-1])

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean of the known values of each series, shape (S,).

        NaN for a series without values or with negative ones, because ratios mean nothing for those (prices).
        """
        count = np.add.reduceat(self.is_present, self.bounds[:-1], dtype=np.int64)
        lowest = np.fmin.reduceat(self.values, self.bounds[:-1])
        return np.where((count > 0) & (lowest >= 0), self.total / np.maximum(count, 1), np.nan)

    @cached_property
    def is_complete(self) -> bool:
        """True if no series lacks a step between its first and its last."""
        ends = self.bounds[1:] - 1
        return bool((self.steps[ends] - self.steps[self.bounds[:-1]] == ends - self.bounds[:-1]).all())

    def lag(self, back: int) -> NDArray[np.float64]:
        """Return the value `back` steps earlier (later if negative) in the same series, shape (N,).

        NaN where that value is unknown, or where a step in between is missing.
        """
        lagged = np.full(len(self.values), np.nan)
        size = abs(back)
        if size >= len(self.values):
            return lagged
        later, earlier = slice(size, None), slice(None, -size)
        target, source = (later, earlier) if back > 0 else (earlier, later)
        is_same_series = self.series[later] == self.series[earlier]
        if not self.is_complete:
            is_same_series &= self.steps[later] - self.steps[earlier] == size
        np.copyto(lagged[target], self.values[source], where=is_same_series)
        return lagged

    def neighbours(self, season: int) -> Neighbours:
        """Return the extremes of the values one step and one season before and after each value."""
        smallest, largest = np.full(len(self.values), np.inf), np.zeros(len(self.values))
        known = np.zeros(len(self.values), np.int8)
        for back in (1, -1, season, -season):
            lagged = self.lag(back)
            np.fmin(smallest, lagged, out=smallest)
            np.fmax(largest, lagged, out=largest)
            known += ~np.isnan(lagged)
        return Neighbours(smallest, largest, known)

    def rows_by_series(self, mask: NDArray[np.bool_]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield the number and the rows of each series that has rows in the mask (N,)."""
        rows = np.flatnonzero(mask)
        if len(rows):
            cuts = np.flatnonzero(np.diff(self.series[rows])) + 1
            for group in np.split(rows, cuts):
                yield int(self.series[group[0]]), group


@dataclass(frozen=True)
class SeriesTable:
    """One value column of a feed, sorted by series and time, with one row per key.

    Attributes:
        keys: Columns series_id, valid_time and the values.
        value: Name of the value column.
        grid: Grid of the pipeline.
        bounds: First row of each series, and the number of rows, shape (S + 1,).
        order: Row of the feed that each row came from. None: the rows are those of the feed.
    """

    keys: pl.DataFrame
    value: str
    grid: TimeGrid
    bounds: NDArray[np.int64]
    order: NDArray[np.int64] | None

    @classmethod
    def of(cls, rows: pl.DataFrame, value: str, grid: TimeGrid) -> SeriesTable:
        """Return the table of accepted rows (series_id, valid_time, available_at, value), newest revisions only."""
        keys = rows.select("series_id", "valid_time", "available_at", value)
        bounds, order = series_bounds(keys), None
        if bounds is None:
            keys = keys.with_row_index(_ROW).sort("series_id", "valid_time", "available_at", maintain_order=True)
            keys = keys.unique(["series_id", "valid_time"], keep="last", maintain_order=True)
            bounds, order = series_bounds(keys), keys[_ROW].to_numpy()
            assert bounds is not None
        return cls(keys.select("series_id", "valid_time", value), value, grid, bounds, order)

    @cached_property
    def names(self) -> list[str | None]:
        """Ids of the S series."""
        return self.keys["series_id"].gather(self.bounds[:-1]).to_list()

    def values(self, first: int, stop: int) -> NDArray[np.float64]:
        """Return the values of rows `first` to `stop`, NaN where missing."""
        return self.keys[self.value].slice(first, stop - first).cast(pl.Float64).to_numpy()

    def blocks(self) -> Iterator[FlatSeries]:
        """Yield all series, a block at a time."""
        bounds, start = self.bounds, 0
        while start < len(bounds) - 1:
            fitting = int(np.searchsorted(bounds, bounds[start] + _ROWS_PER_BLOCK, side="right")) - 1
            stop = max(start + 1, fitting)
            first_row, last_row = int(bounds[start]), int(bounds[stop])
            instants = self.keys["valid_time"].slice(first_row, last_row - first_row).to_physical().to_numpy()
            yield FlatSeries(
                values=self.values(first_row, last_row),
                steps=self.grid.index(instants),
                bounds=bounds[start : stop + 1] - first_row,
                first_series=start,
                first_row=first_row,
            )
            start = stop
