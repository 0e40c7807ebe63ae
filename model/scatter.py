"""Scattering of long history tables onto the dense arrays of a panel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.panel import ALWAYS, NEVER, Channel, RevisionLayer
from model.timegrid import TimeGrid

_ROWS_PER_BLOCK = 262_144  # A block of this size stays in the processor's cache.


class PanelLayout(NamedTuple):
    """The rows and columns of a panel: S series, and N steps from step `first` on."""

    grid: TimeGrid
    series: tuple[str, ...]
    first: int
    columns: int


def scatter_channels(
    layout: PanelLayout, frame: pl.DataFrame, values: list[str], grouped: bool = False, shared: bool = True
) -> list[Channel]:
    """Scatter a history table onto the panel.

    Args:
        layout: Series and steps of the panel. Rows outside it are left out.
        frame: Columns series_id (null: shared by all series), valid_time and `values`. A frame of revisions also has
            available_at, ascending. Without available_at there is one row per key, and all rows are always available.
        values: Names of the value columns.
        grouped: Whether rows are sorted by series and time, with one row per key.
        shared: Whether a frame whose ids are all null, such as an empty one, holds values that all series share.

    Returns:
        One channel per value column, with one row if its values are shared, else with S rows.
    """
    if not shared and frame["series_id"].null_count() == len(frame):
        shape = (len(layout.series), layout.columns)
        return [Channel(name, (RevisionLayer(np.full(shape, np.nan, np.float32), None),)) for name in values]
    tables = _reshape(layout, frame, values) if grouped else None
    if tables is None and "available_at" not in frame.columns:
        tables = _scatter_values(layout, frame, values)
    if tables is not None:
        return [Channel(name, (RevisionLayer(table, None),)) for name, table in zip(values, tables, strict=True)]
    return _scatter_revisions(layout, frame, values)


def _scatter_values(layout: PanelLayout, frame: pl.DataFrame, values: list[str]) -> list[NDArray[np.float32]]:
    """Return one (S, N) array per value column of a frame without revisions."""
    rows = _PanelRows.of(frame["series_id"], layout.series)
    tables = [np.full(_shape(layout, rows), np.nan, np.float32) for _ in values]
    for start in range(0, len(frame), _ROWS_PER_BLOCK):
        block = frame.slice(start, _ROWS_PER_BLOCK)
        inside, cell = _cells(layout, block, rows and rows.between(start, start + len(block)))
        for name, table in zip(values, tables, strict=True):
            table.reshape(-1)[cell] = block[name].to_numpy()[inside]
    return tables


def _scatter_revisions(layout: PanelLayout, frame: pl.DataFrame, values: list[str]) -> list[Channel]:
    """Return one channel per value column, with as many layers as the most revised cell has rows."""
    rows = _PanelRows.of(frame["series_id"], layout.series)
    shape = _shape(layout, rows)
    inside, cell = _cells(layout, frame, rows and rows.between(0, len(frame)))
    available = None
    if frame["available_at"].null_count() < len(frame):
        available = frame["available_at"].dt.epoch("us").fill_null(ALWAYS).to_numpy()[inside]
    depth = _revision_numbers(cell)
    channels = []
    for name in values:
        column = frame[name].to_numpy().astype(np.float32)[inside]
        layers = []
        for revision in range(1 if depth is None else int(depth.max(initial=0)) + 1):
            selected = slice(None) if depth is None else depth == revision
            table = np.full(shape, np.nan, np.float32)
            table.reshape(-1)[cell[selected]] = column[selected]
            known = None
            if available is not None:
                known = np.full(shape, NEVER)
                known.reshape(-1)[cell[selected]] = available[selected]
            layers.append(RevisionLayer(table, known))
        channels.append(Channel(name, tuple(layers)))
    return channels


def _reshape(layout: PanelLayout, frame: pl.DataFrame, values: list[str]) -> list[NDArray[np.float32]] | None:
    """Return one (S, N) array per value column, or None if the series do not share the same steps without a gap.

    If the first and last ids match an equal-length layout, the rows between them need no id check.
    """
    series, columns = layout.series, layout.columns
    length = len(frame) // max(len(series), 1)
    if not length or len(frame) != length * len(series):
        return None
    ids, expected = frame["series_id"], pl.Series(series)
    ends = (ids.gather_every(length), ids.gather_every(length, length - 1))
    if not all(end.eq_missing(expected).all() for end in ends):
        return None
    times = frame["valid_time"].to_physical()
    shared_times = times.head(length).to_numpy()
    steps = layout.grid.index(shared_times) - layout.first
    if steps[0] < 0 or steps[-1] >= columns or (np.diff(steps) != 1).any():
        return None
    tables = [np.full((len(series), columns), np.nan, np.float32) for _ in values]
    series_per_block = max(_ROWS_PER_BLOCK // length, 1)
    for start in range(0, len(series), series_per_block):
        block = slice(start, min(start + series_per_block, len(series)))
        rows = (block.start * length, (block.stop - block.start) * length)
        if (times.slice(*rows).to_numpy().reshape(-1, length) != shared_times).any():
            return None
        for name, table in zip(values, tables, strict=True):
            table[block, steps[0] : steps[0] + length] = frame[name].slice(*rows).to_numpy().reshape(-1, length)
    return tables


class _PanelRows(NamedTuple):
    """Panel row of each run of equal ids in a frame, -1 for a series outside the panel; a run ends before `ends`."""

    row: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, ids: pl.Series, series: tuple[str, ...]) -> _PanelRows | None:
        """Return the panel rows of a column of ids, or None if all ids are null: one row serves all series."""
        if ids.null_count() == len(ids):
            return None
        # Most frames are sorted by series, so a lookup per run of equal ids is much cheaper than one per row.
        runs = ids.rle().struct.unnest()
        row = runs["value"].cast(pl.Enum(series), strict=False).to_physical().cast(pl.Int64).fill_null(-1)
        return cls(row.to_numpy(), np.cumsum(runs["len"].to_numpy(), dtype=np.int64))

    def between(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the panel row of each frame row from `start` to `stop`, shape (stop - start,)."""
        runs = slice(np.searchsorted(self.ends, start, side="right"), np.searchsorted(self.ends, stop) + 1)
        return np.repeat(self.row[runs], np.diff(np.minimum(self.ends[runs], stop), prepend=start))


def _shape(layout: PanelLayout, rows: _PanelRows | None) -> tuple[int, int]:
    return (1 if rows is None else len(layout.series), layout.columns)


def _cells(
    layout: PanelLayout, frame: pl.DataFrame, row: NDArray[np.int64] | None
) -> tuple[NDArray[np.bool_] | slice, NDArray[np.int64]]:
    """Return which rows of `frame` lie on the panel, and their cells, numbered row by row of the panel."""
    cell = layout.grid.index(frame["valid_time"].to_physical().to_numpy()) - layout.first
    inside = (cell >= 0) & (cell < layout.columns)
    if row is not None:
        inside &= row >= 0
        cell += row * layout.columns
    return (slice(None), cell) if inside.all() else (inside, cell[inside])


def _revision_numbers(cell: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return how many earlier entries share each entry's cell, or None if cells are strictly ascending."""
    if (np.diff(cell) > 0).all():
        return None
    order = np.argsort(cell, kind="stable")
    ordered = cell[order]
    is_first = np.ones(len(cell), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    position = np.arange(len(cell))
    depth = np.empty(len(cell), np.int64)
    depth[order] = position - np.maximum.accumulate(np.where(is_first, position, 0))
    return depth
