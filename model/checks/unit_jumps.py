"""Check for a few days in another unit, or with a slip of the decimal point, in the series of a feed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from model.checks.check_context import CheckContext
from model.checks.findings import SeriesFault
from model.checks.implausible_days import FACTOR, NEWEST_DAYS, WINDOW, implausible_cells, judge_days, window_starts
from model.checks.series_summary import SeriesSummary
from model.checks.series_table import SeriesTable


def find_unit_jumps(table: SeriesTable, summary: SeriesSummary, context: CheckContext) -> Iterator[SeriesFault]:
    """Yield the series with a few days of values over FACTOR times all others, or of a thousandth of them."""
    bounds = np.append(np.flatnonzero(np.diff(summary.day_series, prepend=-1)), len(summary.day_series))
    starts, ends = _windows(bounds)
    places = starts[:, None] + np.arange(WINDOW)
    is_inside = places < ends[:, None]
    peaks = np.where(is_inside, summary.day_peak[np.minimum(places, len(summary.day_peak) - 1)], np.nan)
    owner = np.searchsorted(bounds, starts, side="right") - 1
    is_first, is_last = starts == bounds[owner], ends == bounds[owner + 1]
    # A short read may begin anywhere in the history, so its first days may be the level before a change.
    at_start = is_first & (bounds[owner + 1] - bounds[owner] >= WINDOW)
    # All days ahead are of one delivery, whose unit may be wrong as a whole.
    newest_days = NEWEST_DAYS + context.days_ahead
    windows, verdicts = judge_days(peaks, at_start, is_last, context.grid.steps_per_day == 1, newest_days)
    rows_by_series: dict[int, list[NDArray[np.int64]]] = {}
    for window, verdict in zip(windows.tolist(), verdicts, strict=True):
        number = int(summary.day_series[starts[window]])
        rows = _implausible_rows(table, summary, context, (int(starts[window]), int(ends[window])), verdict)
        rows_by_series.setdefault(number, []).append(rows)
    for number, groups in rows_by_series.items():
        rows = np.unique(np.concatenate(groups))
        if len(rows):
            first, last = _steps(table, context, int(rows[0]), int(rows[-1]) + 1)[[0, -1]].tolist()
            yield SeriesFault(number, rows, first, last, _detail(table, number, rows))


def _detail(table: SeriesTable, number: int, rows: NDArray[np.int64]) -> str:
    first, stop = table.bounds[number : number + 2].tolist()
    values = table.values(first, stop)
    found, others = values[rows - first], np.abs(np.delete(values, rows - first))
    sizes = np.abs(found)
    is_high = sizes.max() > np.nanmax(others, initial=0)
    example = found[sizes.argmax() if is_high else sizes.argmin()]
    problem = f"over {FACTOR} times all" if is_high else f"below 1/{FACTOR} of all"
    count = "1 value" if len(rows) == 1 else f"{len(rows)} values"
    return f"{count} {problem} others of four weeks, such as {example:.6g}. Correct the unit in the source"


def _windows(bounds: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first day of each window of each series, and the day after its last one."""
    starts, ends = [], []
    for length in np.unique(np.diff(bounds)).tolist():
        firsts = bounds[:-1][np.diff(bounds) == length]
        inside = window_starts(length)
        starts.append((firsts[:, None] + inside).ravel())
        ends.append((firsts[:, None] + np.minimum(inside + WINDOW, length)).ravel())
    return np.concatenate(starts), np.concatenate(ends)


def _implausible_rows(
    table: SeriesTable,
    summary: SeriesSummary,
    context: CheckContext,
    days: tuple[int, int],
    verdict: NDArray[np.int8],
) -> NDArray[np.int64]:
    """Return the rows of the feed's table that are implausible in a window of days."""
    first, stop = days
    first_row = int(summary.day_row[first])
    last_row = int(summary.day_row[stop]) if stop < len(summary.day_row) else len(table.keys)
    steps = _steps(table, context, first_row, last_row)
    in_window = np.repeat(np.arange(stop - first), np.diff(np.append(summary.day_row[first:stop], last_row)))
    phases = steps % context.grid.steps_per_day
    return first_row + np.flatnonzero(implausible_cells(table.values(first_row, last_row), in_window, phases, verdict))


def _steps(table: SeriesTable, context: CheckContext, first: int, stop: int) -> NDArray[np.int64]:
    return context.grid.index(table.keys["valid_time"].slice(first, stop - first).to_physical().to_numpy())
