"""Checks on sums of whole series: jumps of level, series that stopped, and series that equal another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.checks.check_context import CheckContext
from model.checks.findings import SeriesFault
from model.checks.series_summary import NO_VALUE, SeriesSummary
from model.checks.series_table import SeriesTable
from model.checks.unit_jumps import find_unit_jumps

# A level jumps if the mean of four weeks changes by _JUMP, and most of that, _ABRUPT, within two days.
_LONG, _SHORT = 28, 2  # days
_JUMP, _ABRUPT = 2.0, 1.6  # ratios
_DAY_JUMP = 5.0  # ratio of the mean of a day to those of the four weeks before
_FEWEST_DAYS = 14
_SILENT_DAYS = 3
_RENAMED_DAYS = 2  # between the last value of an old id and the first one of a new id
_MOST_RENAMED = 100  # With more new series, the portfolio has grown.


def find_level_jumps(table: SeriesTable, summary: SeriesSummary, context: CheckContext) -> Iterator[SeriesFault]:
    """Yield the largest jump of level of each series that has one."""
    if len(summary.day_total) < 2 * _LONG:
        return
    ratio, abrupt_ratio = _level_ratio(summary, _LONG), _level_ratio(summary, _SHORT)
    jump = np.maximum(ratio, 1 / ratio)
    same_direction = (ratio > 1) == (abrupt_ratio > 1)
    is_jump = (jump >= _JUMP) & (np.maximum(abrupt_ratio, 1 / abrupt_ratio) >= _ABRUPT) & same_direction
    is_jump &= ~np.isnan(summary.mean)[summary.day_series]
    for number in np.unique(summary.day_series[is_jump]):
        days = np.flatnonzero(is_jump & (summary.day_series == number))
        day = days[jump[days].argmax()]
        detail = f"level {ratio[day]:.3g} times that of the {_LONG} days before"
        step = int(summary.day_step[day])
        yield SeriesFault(int(number), summary.day_row[[day]], step, step, detail)


def find_day_jumps(table: SeriesTable, summary: SeriesSummary, context: CheckContext) -> Iterator[SeriesFault]:
    """Yield the series with a day far above, or far below, all days of the four weeks before it."""
    days = pl.DataFrame({
        "series": summary.day_series,
        "mean": np.where(summary.day_count > 0, summary.day_total / np.maximum(summary.day_count, 1), np.nan),
    }).with_columns(pl.col("mean").fill_nan(None))  # fmt: skip
    before = pl.col("mean").shift(1)
    days = days.with_columns(
        largest=before.rolling_max(_LONG, min_samples=_FEWEST_DAYS).over("series"),
        smallest=before.rolling_min(_LONG, min_samples=_FEWEST_DAYS).over("series"),
    )
    is_high = (pl.col("mean") > _DAY_JUMP * pl.col("largest")) & (pl.col("largest") > 0)
    is_low = (_DAY_JUMP * pl.col("mean") < pl.col("smallest")) & (pl.col("mean") > 0)
    is_jump = days.select((is_high | is_low).fill_null(False)).to_series().to_numpy()
    is_jump &= ~np.isnan(summary.mean)[summary.day_series]
    for number in np.unique(summary.day_series[is_jump]):
        found = np.flatnonzero(is_jump & (summary.day_series == number))
        mean, largest, smallest = days.select("mean", "largest", "smallest").row(int(found[-1]))
        is_above = mean > largest
        other, ratio = ("largest", mean / largest) if is_above else ("smallest", mean / smallest)
        detail = f"mean of a day {ratio:.3g} times the {other} of the four weeks before; check its unit and sign"
        first, last = summary.day_step[found[[0, -1]]].tolist()
        yield SeriesFault(int(number), summary.day_row[found], first, last, detail)


def find_stopped(table: SeriesTable, summary: SeriesSummary, context: CheckContext) -> Iterator[SeriesFault]:
    """Yield the series whose newest value is more than three days older than that of the feed."""
    newest = int(summary.newest.max())
    if newest == NO_VALUE:
        return  # no series has a value, so none stopped before the others
    for number in np.flatnonzero(summary.newest < newest - _SILENT_DAYS * context.grid.steps_per_day):
        last = int(summary.last[number])
        count = summary.newest[number]
        detail = "no value" if count == NO_VALUE else f"no value in the feed's last {newest - count} periods"
        yield SeriesFault(int(number), table.bounds[[number + 1]] - 1, last, last, detail)


def find_same_series(table: SeriesTable, summary: SeriesSummary, context: CheckContext) -> Iterator[SeriesFault]:
    """Yield the series whose values all equal those of an earlier series."""
    sums = pl.DataFrame({"total": summary.total, "count": np.diff(table.bounds)}).with_row_index("number")
    candidates = sums.filter((pl.len().over("total", "count") > 1) & (pl.col("total") != 0))
    for _, group in candidates.group_by("total", "count", maintain_order=True):
        original, *others = group["number"].to_list()
        values = table.values(*table.bounds[original : original + 2].tolist())
        for number in others:
            first, stop = table.bounds[number : number + 2].tolist()
            if np.array_equal(values, table.values(first, stop), equal_nan=True):
                detail = f"all values equal those of another series, {table.names[original]!r}"
                ends = int(summary.first[number]), int(summary.last[number])
                yield SeriesFault(number, np.arange(first, stop), *ends, detail)


def find_renamed(table: SeriesTable, summary: SeriesSummary, context: CheckContext) -> Iterator[SeriesFault]:
    """Yield the series whose values end where those of a new series of the same size begin.

    The old id would be forecast beside the new one until it counts as ended.
    """
    begin, end = int(summary.first.min()), int(summary.newest.max())
    within = _RENAMED_DAYS * context.grid.steps_per_day
    new_series = np.flatnonzero((summary.first > begin + within) & (summary.newest > end - within))
    if len(new_series) > _MOST_RENAMED:
        return
    has_ended = (summary.newest < end) & (summary.newest != NO_VALUE)
    size = np.abs(summary.total) / np.diff(table.bounds)
    for new in new_series:
        is_followed = has_ended & (np.abs(summary.first[new] - summary.newest - 1) <= within)
        is_followed &= np.maximum(size, size[new]) <= _JUMP * np.minimum(size, size[new])
        ended = np.flatnonzero(is_followed)
        if len(ended) == 1:  # of several, the values do not show which one it replaces
            (old,) = ended.tolist()
            last = int(summary.newest[old])
            detail = (
                f"its values end where those of {table.names[new]!r} begin. If it was renamed, give both one id in the "
                "source. Until then both are forecast"
            )
            yield SeriesFault(old, table.bounds[[old + 1]] - 1, last, last, detail)


#: Checks by name.
ACROSS_SERIES: dict[str, Callable[[SeriesTable, SeriesSummary, CheckContext], Iterator[SeriesFault]]] = {
    "unit_jump": find_unit_jumps,
    "day_jump": find_day_jumps,
    "level_jump": find_level_jumps,
    "stopped": find_stopped,
    "same_series": find_same_series,
    "renamed": find_renamed,
}


def _level_ratio(summary: SeriesSummary, days: int) -> NDArray[np.float64]:
    """Return the mean of `days` days from each day on, divided by the mean of as many days before it.

    Returns:
        Array of shape (D,). The ratio is 1 where a day of the window is missing, or half of its values.
    """
    total, count, owner = summary.day_total, summary.day_count, summary.day_series
    total_before, count_before = (np.concatenate([[0], np.cumsum(column)]) for column in (total, count))
    ratio = np.ones(len(total))
    day = np.arange(days, len(total) - days + 1)
    if len(day):
        before, after = (
            (total_before[stop] - total_before[start], count_before[stop] - count_before[start])
            for start, stop in ((day - days, day), (day, day + days))
        )
        enough = days * count.max() / 2
        usable = (owner[day - days] == owner[day + days - 1]) & (before[0] > 0) & (after[0] > 0)
        usable &= (before[1] >= enough) & (after[1] >= enough)
        means = (after[0][usable] / after[1][usable], before[0][usable] / before[1][usable])
        ratio[day[usable]] = means[0] / means[1]
    return ratio
