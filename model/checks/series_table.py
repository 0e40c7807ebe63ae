"""A feed's series as flat arrays, in blocks that stay in the processor's cache.

Arrays are flat: series one after the other, N rows in all, times ascending within each. No block cuts a series.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from model.timegrid import TimeGrid
from storage.schemas import series_bounds

_AT_ONCE = 65_536  # rows of a block, if its series are not longer


@dataclass(frozen=True)
class FlatSeries:
    """N values (float64, NaN missing) with their step numbers; series s is rows bounds[s] to bounds[s + 1].

    `number` and `row` say which series and which row of the feed come first here.
    """

    values: np.ndarray
    steps: np.ndarray
    bounds: np.ndarray
    number: int = 0
    row: int = 0

    @cached_property
    def series(self) -> np.ndarray:
        """(N,) number of the series of each row, from 0."""
        return np.repeat(np.arange(len(self.bounds) - 1, dtype=np.int32), np.diff(self.bounds))

    @cached_property
    def is_present(self) -> np.ndarray:
        """(N,) whether there is a value."""
        return ~np.isnan(self.values)

    @cached_property
    def filled(self) -> np.ndarray:
        """(N,) values, 0 where there is none."""
        return self.values if self.is_present.all() else np.nan_to_num(self.values)

    @cached_property
    def total(self) -> np.ndarray:
        """(S,) sums of the values that are there."""
        return np.add.reduceat(self.filled, self.bounds[:-1])

    @cached_property
    def mean(self) -> np.ndarray:
        """(S,) means of the values that are there, NaN where there are none or where one is negative.

        Ratios say nothing of what may be negative, such as a price.
        """
        count = np.add.reduceat(self.is_present, self.bounds[:-1], dtype=np.int64)
        lowest = np.fmin.reduceat(self.values, self.bounds[:-1])
        return np.where((count > 0) & (lowest >= 0), self.total / np.maximum(count, 1), np.nan)

    @cached_property
    def is_complete(self) -> bool:
        """Whether no series lacks a step between its first and its last."""
        ends = self.bounds[1:] - 1
        return bool((self.steps[ends] - self.steps[self.bounds[:-1]] == ends - self.bounds[:-1]).all())

    def lag(self, back: int) -> np.ndarray:
        """(N,) the value `back` steps earlier (later if negative) in the same series, NaN where there is none.

        Only where no step is missing in between.
        """
        out = np.full(len(self.values), np.nan)
        size = abs(back)
        if size >= len(self.values):
            return out
        later, earlier = slice(size, None), slice(None, -size)
        here, there = (later, earlier) if back > 0 else (earlier, later)
        near = self.series[later] == self.series[earlier]
        if not self.is_complete:
            near &= self.steps[later] - self.steps[earlier] == size
        np.copyto(out[here], self.values[there], where=near)
        return out

    def around(self, season: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Least and greatest of the values one step and one season before and after, and how many there are."""
        least, greatest = np.full(len(self.values), np.inf), np.zeros(len(self.values))
        count = np.zeros(len(self.values), np.int8)
        for back in (1, -1, season, -season):
            near = self.lag(back)
            np.fmin(least, near, out=least)
            np.fmax(greatest, near, out=greatest)
            count += ~np.isnan(near)
        return least, greatest, count

    def by_series(self, wrong: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Series number and row numbers of the wrong (N,) rows, series by series."""
        rows = np.flatnonzero(wrong)
        if len(rows):
            cuts = np.flatnonzero(np.diff(self.series[rows])) + 1
            for part in np.split(rows, cuts):
                yield int(self.series[part[0]]), part


@dataclass(frozen=True)
class Sums:
    """All series of a feed in short; D is the number of days that they have, one series after the other.

    Attributes:
        first, last, newest: (S,) steps of each series: its first, its last, and the last that has a value.
        total, mean: (S,) as in `FlatSeries`.
        days, counts: (D,) sums of the values of each day, and how many there are.
        owner: (D,) number of the series; `begins` and `steps`: row and step with which the day begins.
    """

    first: np.ndarray
    last: np.ndarray
    newest: np.ndarray
    total: np.ndarray
    mean: np.ndarray
    days: np.ndarray
    counts: np.ndarray
    owner: np.ndarray
    begins: np.ndarray
    steps: np.ndarray

    @classmethod
    def of(cls, table: FlatSeries, per_day: int) -> Sums:
        """Of one block."""
        day = table.steps // per_day
        begins = np.flatnonzero((np.diff(day, prepend=day[0] - 1) != 0) | (np.diff(table.series, prepend=-1) != 0))
        there = np.where(table.is_present, table.steps, np.iinfo(np.int64).min)
        return cls(
            table.steps[table.bounds[:-1]], table.steps[table.bounds[1:] - 1],
            np.maximum.reduceat(there, table.bounds[:-1]), table.total, table.mean,
            np.add.reduceat(table.filled, begins), np.add.reduceat(table.is_present, begins, dtype=np.int64),
            table.series[begins] + table.number, begins + table.row, table.steps[begins],
        )  # fmt: skip

    @classmethod
    def concatenated(cls, parts: list[Sums]) -> Sums:
        """Of all blocks."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class SeriesTable:
    """One value column of a feed, one row a key, series by series.

    Attributes:
        keys: series_id, valid_time, `value`.
        bounds: (S + 1,) rows at which the series begin.
        order: row of the feed that each row was; None: they are the feed's own.
    """

    keys: pl.DataFrame
    value: str
    grid: TimeGrid
    bounds: np.ndarray
    order: np.ndarray | None

    @classmethod
    def of(cls, rows: pl.DataFrame, value: str, grid: TimeGrid) -> SeriesTable:
        """From accepted rows (series_id, valid_time, available_at, value); of several of one key the newest counts."""
        keys = rows.select("series_id", "valid_time", "available_at", value)
        bounds, order = series_bounds(keys), None
        if bounds is None:
            keys = keys.with_row_index("row").sort("series_id", "valid_time", "available_at", maintain_order=True)
            keys = keys.unique(["series_id", "valid_time"], keep="last", maintain_order=True)
            bounds, order = series_bounds(keys), keys["row"].to_numpy()
            assert bounds is not None
        return cls(keys.select("series_id", "valid_time", value), value, grid, bounds, order)

    @cached_property
    def names(self) -> list[str | None]:
        """(S,) ids of the series."""
        return self.keys["series_id"].gather(self.bounds[:-1]).to_list()

    def values(self, first: int, last: int) -> np.ndarray:
        """float64 values of rows `first` to `last`, NaN where there is none."""
        return self.keys[self.value].slice(first, last - first).cast(pl.Float64).to_numpy()

    def blocks(self) -> Iterator[FlatSeries]:
        """All series, some at a time."""
        bounds, start = self.bounds, 0
        while start < len(bounds) - 1:
            fitting = int(np.searchsorted(bounds, bounds[start] + _AT_ONCE, side="right")) - 1
            stop = max(start + 1, fitting)
            first, last = int(bounds[start]), int(bounds[stop])
            instants = self.keys["valid_time"].slice(first, last - first).to_physical().to_numpy()
            yield FlatSeries(
                self.values(first, last), self.grid.index(instants), bounds[start : stop + 1] - first, start, first
            )
            start = stop
