"""Checks of one series at a time: gaps, flat lines, spikes, dropouts and repeated blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from model.checks.check_context import CheckContext
from model.checks.findings import SeriesFault
from model.checks.series_table import FlatSeries

_FLAT_LENGTH = {"1d": 7, "1b": 5}  # equal periods in a row; for shorter periods half a day
_SPIKE_RATIO = 5.0  # to the largest neighbour
_DROPOUT_SHARE = 0.2  # A zero is a dropout if all neighbours exceed this share of the series' mean.
_FEWEST_REPEATED = 3  # values of a repeated block


def find_gaps(block: FlatSeries, context: CheckContext) -> Iterator[SeriesFault]:
    """Yield the series that lack periods between their first and their last."""
    if block.is_complete:
        return
    missing = np.diff(block.steps, prepend=block.steps[0]) - 1
    missing[block.bounds[:-1]] = 0
    for number, rows in block.rows_by_series(missing > 0):
        count = int(missing[rows].sum())
        periods, gaps = "period" if count == 1 else "periods", "gap" if len(rows) == 1 else "gaps"
        yield _fault(block, number, rows, f"{count} {periods} missing in {len(rows)} {gaps}")


def find_flat_lines(block: FlatSeries, context: CheckContext) -> Iterator[SeriesFault]:
    """Yield the series with many equal values in a row."""
    fewest = _FLAT_LENGTH.get(context.grid.frequency, context.grid.steps_per_day // 2)
    begins = np.flatnonzero(block.values != block.lag(1))
    length = np.diff(begins, append=len(block.values))
    is_long = length >= fewest
    if not is_long.any():
        return
    length_of_run = np.repeat(length, length)
    for number, rows in block.rows_by_series(np.repeat(is_long, length)):
        yield _fault(block, number, rows, f"up to {length_of_run[rows].max()} equal values in a row")


def find_spikes(block: FlatSeries, context: CheckContext) -> Iterator[SeriesFault]:
    """Yield the series with values far above their neighbours, one step and one season before and after."""
    neighbours = block.neighbours(context.season)
    is_spike = (block.values > _SPIKE_RATIO * neighbours.largest) & (neighbours.largest > 0) & (neighbours.known >= 2)
    if not is_spike.any():
        return
    is_spike &= ~np.isnan(block.mean)[block.series]
    for number, rows in block.rows_by_series(is_spike):
        ratio = (block.values[rows] / neighbours.largest[rows]).max()
        yield _fault(block, number, rows, f"up to {ratio:.3g} times the largest neighbouring value")


def find_dropouts(block: FlatSeries, context: CheckContext) -> Iterator[SeriesFault]:
    """Yield the series with zeros among neighbours far above zero."""
    is_zero = block.values == 0
    if not is_zero.any():
        return
    neighbours = block.neighbours(context.season)
    with np.errstate(invalid="ignore"):
        is_far = neighbours.smallest > _DROPOUT_SHARE * block.mean[block.series]
    for number, rows in block.rows_by_series(is_zero & (neighbours.known >= 2) & is_far):
        yield _fault(block, number, rows, "zero where all neighbouring values are far above zero")


def find_repeated_blocks(block: FlatSeries, context: CheckContext) -> Iterator[SeriesFault]:
    """Yield the series that repeat an hour or a day at a clock change, as some sources do (entsoe-py #468)."""
    per_day, faults = context.grid.steps_per_day, []
    for change in context.clock_changes:
        rows = np.flatnonzero((block.steps >= change - 2 * per_day) & (block.steps < change + per_day))
        if not len(rows):
            continue
        owner = block.series[rows]
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(owner)) + 1, [len(rows)]])
        nearby = FlatSeries(block.values[rows], block.steps[rows], bounds)
        is_repeated = np.zeros(len(rows), bool)
        for back in (per_day // 24, per_day):
            is_repeated |= _repeats(nearby, back)
        for number, repeated in nearby.rows_by_series(is_repeated):
            detail = "repeats the values before the clock change"
            faults.append(_fault(block, int(owner[bounds[number]]), rows[repeated], detail))
    yield from sorted(faults, key=lambda fault: fault.number)


#: Checks by name.
WITHIN_SERIES: dict[str, Callable[[FlatSeries, CheckContext], Iterator[SeriesFault]]] = {
    "gap": find_gaps,
    "flat_line": find_flat_lines,
    "spike": find_spikes,
    "dropout": find_dropouts,
    "repeated_block": find_repeated_blocks,
}


def _fault(block: FlatSeries, number: int, rows: NDArray[np.int64], detail: str) -> SeriesFault:
    """Return a fault in the numbers of the feed from series and rows in the numbers of the block."""
    first, last = block.steps[rows[[0, -1]]].tolist()
    return SeriesFault(number + block.first_series, rows + block.first_row, first, last, detail)


def _repeats(block: FlatSeries, back: int) -> NDArray[np.bool_]:
    """Return which rows (N,) belong to a run that equals the values `back` steps earlier and is not constant."""
    is_equal = block.values == block.lag(back)
    is_moving = is_equal & (block.values != block.lag(1))
    edges = np.flatnonzero(np.diff(is_equal, prepend=False, append=False))
    repeated = np.zeros(len(is_equal), bool)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        # A run longer than this is the normal shape of the series, and no fault of one clock change.
        if _FEWEST_REPEATED <= stop - start <= 2 * back and is_moving[start + 1 : stop].any():
            repeated[start:stop] = True
    return repeated
