"""Dense panels: long history tables scattered onto [series, step] grids, with the time each value was known.

A channel keeps its revisions as layers. Layer 0 holds the first value known of every cell, layer r the r-th
revision; a window as of t takes, cell by cell, the last layer that was available at t.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl

from model.calendar import calendar_covariates
from model.timegrid import TimeGrid

ALWAYS = np.iinfo(np.int64).min  # available_at of a value known at every issue time
_NEVER = np.iinfo(np.int64).max
_AT_ONCE = 262_144  # rows scattered together: they stay in the processor's cache


class RevisionLayer(NamedTuple):
    """values: (S, N) float32, NaN where nothing is known; available: (S, N) int64 us, or None if always."""

    values: np.ndarray
    available: np.ndarray | None


@dataclass(frozen=True)
class Channel:
    """One variable over series and steps. S is 1 for a covariate shared by all series."""

    name: str
    layers: tuple[RevisionLayer, ...]

    def as_of(self, rows: np.ndarray, starts: np.ndarray, length: int, issues: np.ndarray) -> np.ndarray:
        """(B, length) float32: what was known at `issues` (B,) of the steps from column `starts` (B,) on.

        `rows` (B,) are series. Not visible is NaN.
        """
        rows = rows if len(self.layers[0].values) > 1 else np.zeros_like(rows)
        if len(self.layers) == 1 and self.layers[0].available is None:
            return _gather(self.layers[0].values, rows, starts, length)
        out = np.full((len(rows), length), np.nan, np.float32)
        for layer in self.layers:
            values = _gather(layer.values, rows, starts, length)
            if layer.available is not None:
                visible = _gather(layer.available, rows, starts, length) <= issues[:, None]
                out = np.where(visible, values, out)
            else:
                out = values
        return out

    def final(self, rows: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
        """(B, length) float32: the last value known of each cell, whenever it became known."""
        return self.as_of(rows, starts, length, np.full(len(rows), _NEVER - 1))


@dataclass(frozen=True)
class Panel:
    """All channels of a pipeline on one grid. Column 0 is step `first`; every channel has N columns."""

    grid: TimeGrid
    series: tuple[str, ...]
    first: int
    target: Channel
    known_future: tuple[Channel, ...]
    observed: tuple[Channel, ...]

    @cached_property
    def calendar(self) -> np.ndarray:
        """(N, len(CALENDAR)) float32, the calendar covariates of the steps."""
        return calendar_covariates(self.grid, self.first + np.arange(self.columns))

    @property
    def columns(self) -> int:
        """N, the number of steps."""
        return self.target.layers[0].values.shape[1]

    def take(self, rows: np.ndarray) -> Panel:
        """The panel of some of its series, by row."""
        count = len(self.series)

        def part(channel: Channel) -> Channel:
            # A covariate shared by all series has one row.
            if len(channel.layers[0].values) != count:
                return channel
            return Channel(channel.name, tuple(
                RevisionLayer(layer.values[rows], None if layer.available is None else layer.available[rows])
                for layer in channel.layers
            ))  # fmt: skip

        return replace(
            self, series=tuple(self.series[row] for row in rows), target=part(self.target),
            known_future=tuple(map(part, self.known_future)), observed=tuple(map(part, self.observed)),
        )  # fmt: skip

    def sha256(self) -> str:
        """Hash of every value, of when each was known, and of where they lie."""
        grid = self.grid
        where = (grid.frequency, grid.timezone, grid.holidays, grid.day_start, self.first, self.series)
        digest = hashlib.sha256(repr(where).encode())
        for channel in (self.target, *self.known_future, *self.observed):
            for layer in channel.layers:
                for array in layer:
                    if array is None:
                        digest.update(b"always")
                        continue
                    digest.update(f"{channel.name}{array.shape}{array.dtype}".encode())
                    digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def channels(
    grid: TimeGrid,
    frame: pl.DataFrame,
    values: list[str],
    series: tuple[str, ...],
    first: int,
    columns: int,
    grouped: bool = False,
) -> list[Channel]:
    """Scatter a history table onto the grid: one channel for each of `values`.

    Args:
        frame: series_id (null: shared by all series), valid_time, values, and available_at where the
            values of a key may have been revised (rows ordered by it); without it all are visible, one a key.
        first, columns: the steps covered; rows outside are left out.
        grouped: whether its rows come series by series and in time, one a key.
    """
    tables = _reshaped(grid, frame, values, series, first, columns) if grouped else None
    if tables is not None:
        return [Channel(name, (RevisionLayer(table, None),)) for name, table in zip(values, tables, strict=True)]
    rows = _Rows.of(frame["series_id"], series)
    shape = (1 if rows is None else len(series), columns)
    if "available_at" not in frame.columns:
        tables = [np.full(shape, np.nan, np.float32) for _ in values]
        for start in range(0, len(frame), _AT_ONCE):
            part = frame.slice(start, _AT_ONCE)
            inside, cell = _cells(grid, part, rows and rows.between(start, start + len(part)), first, columns)
            for name, table in zip(values, tables, strict=True):
                table.reshape(-1)[cell] = part[name].to_numpy()[inside]
        return [Channel(name, (RevisionLayer(table, None),)) for name, table in zip(values, tables, strict=True)]
    inside, cell = _cells(grid, frame, rows and rows.between(0, len(frame)), first, columns)
    available = None
    if frame["available_at"].null_count() < len(frame):
        available = frame["available_at"].dt.epoch("us").fill_null(ALWAYS).to_numpy()[inside]
    depth = _revision(cell)
    found = []
    for name in values:
        value = frame[name].to_numpy().astype(np.float32)[inside]
        layers = []
        for revision in range(1 if depth is None else int(depth.max(initial=0)) + 1):
            here = slice(None) if depth is None else depth == revision
            grid_values = np.full(shape, np.nan, np.float32)
            grid_values.reshape(-1)[cell[here]] = value[here]
            grid_available = None
            if available is not None:
                grid_available = np.full(shape, _NEVER)
                grid_available.reshape(-1)[cell[here]] = available[here]
            layers.append(RevisionLayer(grid_values, grid_available))
        found.append(Channel(name, tuple(layers)))
    return found


def _reshaped(
    grid: TimeGrid, frame: pl.DataFrame, values: list[str], series: tuple[str, ...], first: int, columns: int
) -> list[np.ndarray] | None:
    """(S, N) tables of a grouped frame that has the same steps, without a gap, of every series; else None.

    Rows of series that begin and end where those of equal length would are theirs, and need not be looked at.
    """
    length = len(frame) // max(len(series), 1)
    if not length or len(frame) != length * len(series):
        return None
    ids, wanted = frame["series_id"], pl.Series(series)
    ends = (ids.gather_every(length), ids.gather_every(length, length - 1))
    if not all(end.eq_missing(wanted).all() for end in ends):
        return None
    times = frame["valid_time"].to_physical()
    of_each = times.head(length).to_numpy()
    steps = grid.index(of_each) - first
    if steps[0] < 0 or steps[-1] >= columns or (np.diff(steps) != 1).any():
        return None
    tables = [np.full((len(series), columns), np.nan, np.float32) for _ in values]
    at_once = max(_AT_ONCE // length, 1)
    for start in range(0, len(series), at_once):
        part = slice(start, min(start + at_once, len(series)))
        rows = (part.start * length, (part.stop - part.start) * length)
        if (times.slice(*rows).to_numpy().reshape(-1, length) != of_each).any():
            return None
        for name, table in zip(values, tables, strict=True):
            table[part, steps[0] : steps[0] + length] = frame[name].slice(*rows).to_numpy().reshape(-1, length)
    return tables


class _Rows(NamedTuple):
    """Rows of the panel, -1 for a series that is not in it; the same up to the next of `ends`."""

    number: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, ids: pl.Series, series: tuple[str, ...]) -> _Rows | None:
        """Of the series of a frame; None where one row is shared by all."""
        if ids.null_count() == len(ids):
            return None
        # Rows come series by series as a rule, so one look a run of equal ids does.
        runs = ids.rle().struct.unnest()
        number = runs["value"].cast(pl.Enum(series), strict=False).to_physical().cast(pl.Int64).fill_null(-1)
        return cls(number.to_numpy(), np.cumsum(runs["len"].to_numpy(), dtype=np.int64))

    def between(self, start: int, stop: int) -> np.ndarray:
        """(stop - start,) of these rows of the frame."""
        runs = slice(np.searchsorted(self.ends, start, side="right"), np.searchsorted(self.ends, stop) + 1)
        return np.repeat(self.number[runs], np.diff(np.minimum(self.ends[runs], stop), prepend=start))


def _cells(
    grid: TimeGrid, frame: pl.DataFrame, row: np.ndarray | None, first: int, columns: int
) -> tuple[np.ndarray | slice, np.ndarray]:
    """Which rows of `frame` lie on the panel, and their cells, numbered row by row of the panel."""
    cell = grid.index(frame["valid_time"].to_physical().to_numpy()) - first
    inside = (cell >= 0) & (cell < columns)
    if row is not None:
        inside &= row >= 0
        cell += row * columns
    return (slice(None), cell) if inside.all() else (inside, cell[inside])


def _revision(cell: np.ndarray) -> np.ndarray | None:
    """For each entry, how many earlier entries have the same cell number; None if no cell occurs twice in order."""
    if (np.diff(cell) > 0).all():
        return None
    order = np.argsort(cell, kind="stable")
    ordered = cell[order]
    new = np.ones(len(cell), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    position = np.arange(len(cell))
    depth = np.empty(len(cell), np.int64)
    depth[order] = position - np.maximum.accumulate(np.where(new, position, 0))
    return depth


def _gather(table: np.ndarray, rows: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """(B, length) slices of `table` (S, N): a strided view makes this a copy of contiguous runs."""
    if len(starts) and (starts == starts[0]).all():
        return table[rows, starts[0] : starts[0] + length]
    return np.lib.stride_tricks.sliding_window_view(table, length, axis=1)[rows, starts]
