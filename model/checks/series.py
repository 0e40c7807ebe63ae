"""What a whole series shows that a single row does not: gaps, flat lines, spikes, jumps of level, repeated blocks,
series that stopped, series that are twice the same.

Each finding is of one series. Most checks need no more than a block of series at a time; those that set series
beside each other look at sums of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from model.checks.series_table import FlatSeries, SeriesTable, Sums
from model.timegrid import TimeGrid, local_naive
from storage.schemas import INSTANT

Action = Literal["accept", "warn", "quarantine"]

_FLAT = {"1d": 7, "1b": 5}  # equal periods in a row that are a flat line; half a day of shorter periods
_SPIKE = 5.0  # times the largest neighbour
_DROPOUT = 0.2  # of the series' mean: zero among neighbours above it
_MONTH, _DAYS = 28, 2
_JUMP, _ABRUPT = 2.0, 1.6  # ratio of the mean level of four weeks, and of two days, after and before
_SILENT_DAYS = 3
_HOUR = 3_600_000_000
_NUMBER = re.compile(r"\{(\d+)\}")  # a series in a detail, by number
_FEWEST_EQUAL = 3  # values of a repeated block


class Finding(NamedTuple):
    """One series failed one check. `rows` are concerned, from `first` to `last` (UTC); `detail` says how."""

    check: str
    action: Action
    series_id: str | None
    rows: int
    first: datetime
    last: datetime
    detail: str


class CheckContext(NamedTuple):
    """What a check may want to know beside the values.

    Attributes:
        season: steps of the pipeline's season.
        changes: steps at which the zone's offset changes.
    """

    grid: TimeGrid
    season: int
    changes: list[int]


Found = Iterator[tuple[int, np.ndarray, str]]  # series number, row numbers, detail; as the block counts them
Across = Iterator[tuple[int, int, int, tuple[int, int], str]]  # series number, first row, rows, its steps, detail


def check_series(
    rows: pl.DataFrame, value: str, grid: TimeGrid, season: int, actions: dict[str, Action]
) -> tuple[list[Finding], pl.Series | None]:
    """Look at one value column of accepted rows (series_id, valid_time, available_at, value), newest revision only.

    Args:
        season: steps of the pipeline's season: a spike is compared with one season ago too.
        actions: what to do on each check; `accept` leaves it out.

    Returns:
        The findings, and for each row the reason why it is quarantined (null: it is not), or None if no row is.
    """
    if rows.is_empty():
        return [], None
    table = SeriesTable.of(rows, value, grid)
    times = rows["valid_time"].to_physical()
    first, last = grid.index(np.array([times.min(), times.max()])).tolist()
    scope = CheckContext(grid, season, _clock_changes(grid, first, last + 1))
    asked = {check for check, action in actions.items() if action != "accept"}
    found: dict[str, list[tuple[Finding, np.ndarray]]] = {check: [] for check in _CHECKS if check in asked}

    def note(check: str, number: int, places: np.ndarray, steps: np.ndarray, detail: str) -> None:
        detail = _NUMBER.sub(lambda found: repr(table.names[int(found[1])]), detail)
        since, until = pl.Series(grid.start(steps)).cast(INSTANT).to_list()
        finding = Finding(check, actions[check], table.names[number], len(places), since, until, detail)
        found[check].append((finding, places))

    sums = []
    for block in table.blocks():
        for check in _WITHIN.keys() & asked:
            for number, places, detail in _WITHIN[check](block, scope):
                steps = block.steps[places[[0, -1]]]
                note(check, number + block.number, places + block.row, steps, detail)
        sums.append(Sums.of(block, grid.steps_per_day))
    across = Sums.concatenated(sums)
    for check in _ACROSS.keys() & asked:
        for number, place, count, ends, detail in _ACROSS[check](table, across, scope):
            note(check, number, np.arange(place, place + count), np.array(ends), detail)
    return [finding for check in found.values() for finding, _ in check], _reasons(found, len(rows), table.order)


def _reasons(
    found: dict[str, list[tuple[Finding, np.ndarray]]], rows: int, order: np.ndarray | None
) -> pl.Series | None:
    """Reasons of the feed's rows that a finding takes away; of several the last check's."""
    taken = [
        (finding, places) for check in found.values() for finding, places in check if finding.action == "quarantine"
    ]
    if not taken:
        return None
    reasons = np.full(rows, None, dtype=object)
    for finding, places in taken:
        reasons[places if order is None else order[places]] = f"{finding.check}: {finding.detail}"
    return pl.Series(reasons.tolist(), dtype=pl.String)


def _gaps(table: FlatSeries, scope: CheckContext) -> Found:
    if table.is_complete:
        return
    missing = np.diff(table.steps, prepend=table.steps[0]) - 1
    missing[table.bounds[:-1]] = 0
    for number, places in table.by_series(missing > 0):
        detail = f"{missing[places].sum()} periods missing in {len(places)} gaps"
        yield number, places, detail


def _flat_lines(table: FlatSeries, scope: CheckContext) -> Found:
    fewest = _FLAT.get(scope.grid.frequency, scope.grid.steps_per_day // 2)
    begins = np.flatnonzero(table.values != table.lag(1))
    length = np.diff(begins, append=len(table.values))
    long = length >= fewest
    if not long.any():
        return
    wrong = np.repeat(long, length)
    longest = np.repeat(length, length)
    for number, places in table.by_series(wrong):
        yield number, places, f"up to {longest[places].max()} equal values in a row"


def _spikes(table: FlatSeries, scope: CheckContext) -> Found:
    _, greatest, count = table.around(scope.season)
    wrong = (table.values > _SPIKE * greatest) & (greatest > 0) & (count >= 2)
    if not wrong.any():
        return
    wrong &= ~np.isnan(table.mean)[table.series]
    for number, places in table.by_series(wrong):
        most = (table.values[places] / greatest[places]).max()
        yield number, places, f"up to {most:.3g} times the largest value around"


def _dropouts(table: FlatSeries, scope: CheckContext) -> Found:
    zero = table.values == 0
    if not zero.any():
        return
    least, _, count = table.around(scope.season)
    with np.errstate(invalid="ignore"):
        wrong = zero & (count >= 2) & (least > _DROPOUT * table.mean[table.series])
    for number, places in table.by_series(wrong):
        yield number, places, "zero where all values around are far from it"


def _repeated_blocks(table: FlatSeries, scope: CheckContext) -> Found:
    """At a clock change some sources send an hour, or a day, twice (entsoe-py #468)."""
    a_day, found = scope.grid.steps_per_day, []
    for change in scope.changes:
        rows = np.flatnonzero((table.steps >= change - 2 * a_day) & (table.steps < change + a_day))
        if not len(rows):
            continue
        owner = table.series[rows]
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(owner)) + 1, [len(rows)]])
        part = FlatSeries(table.values[rows], table.steps[rows], bounds)
        wrong = np.zeros(len(rows), bool)
        for back in (a_day // 24, a_day):
            wrong |= _blocks(part, back)
        for number, places in part.by_series(wrong):
            found.append((int(owner[bounds[number]]), rows[places], "the same values as before the clock change"))
    yield from sorted(found, key=lambda one: one[0])


def _blocks(part: FlatSeries, back: int) -> np.ndarray:
    """(N,) rows in a run of values that equal those `back` steps before, and are not all the same."""
    equal = part.values == part.lag(back)
    moving = equal & (part.values != part.lag(1))
    edges = np.flatnonzero(np.diff(equal, prepend=False, append=False))
    wrong = np.zeros(len(equal), bool)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        # A run that goes on through all of the window is how this series is, and no accident of that night.
        if _FEWEST_EQUAL <= stop - start <= 2 * back and moving[start + 1 : stop].any():
            wrong[start:stop] = True
    return wrong


def _clock_changes(grid: TimeGrid, first: int, last: int) -> list[int]:
    """Steps before `last`, from `first` on, at which the zone's offset from UTC changes; none of days."""
    if grid.step is None:
        return []
    steps = np.arange(first, last + grid.steps_per_day, max(1, _HOUR // grid.step))
    instants = grid.start(steps)
    offset = local_naive(instants, grid.timezone).astype(np.int64) - instants
    return steps[1:][np.diff(offset) != 0].tolist()


def _level_jumps(table: SeriesTable, sums: Sums, scope: CheckContext) -> Across:
    if len(sums.days) < 2 * _MONTH:
        return
    ratio = _ratio(sums.days, sums.counts, sums.owner, _MONTH)
    abrupt = _ratio(sums.days, sums.counts, sums.owner, _DAYS)
    jump = np.maximum(ratio, 1 / ratio)
    same_way = (ratio > 1) == (abrupt > 1)
    found = (jump >= _JUMP) & (np.maximum(abrupt, 1 / abrupt) >= _ABRUPT) & same_way
    found &= ~np.isnan(sums.mean)[sums.owner]
    for number in np.unique(sums.owner[found]):
        days = np.flatnonzero(found & (sums.owner == number))
        day = days[jump[days].argmax()]
        detail = f"level {ratio[day]:.3g} times that of the {_MONTH} days before"
        yield int(number), int(sums.begins[day]), 1, (sums.steps[day], sums.steps[day]), detail


def _ratio(total: np.ndarray, count: np.ndarray, owner: np.ndarray, days: int) -> np.ndarray:
    """Mean of `days` days from each day on, over the mean of as many before it.

    Args:
        total, count: (D,) sums of the values of each day, and how many there are; `owner` the day's series.

    Returns:
        (D,); 1 where not all of those days are there, or less than half of the values of a full day.
    """
    sums, counts = (np.concatenate([[0], np.cumsum(part)]) for part in (total, count))
    out = np.ones(len(total))
    here = np.arange(days, len(total) - days + 1)
    if len(here):
        before, after = (
            (sums[to] - sums[since], counts[to] - counts[since])
            for since, to in ((here - days, here), (here, here + days))
        )
        enough = days * count.max() / 2
        usable = (owner[here - days] == owner[here + days - 1]) & (before[0] > 0) & (after[0] > 0)
        usable &= (before[1] >= enough) & (after[1] >= enough)
        means = (after[0][usable] / after[1][usable], before[0][usable] / before[1][usable])
        out[here[usable]] = means[0] / means[1]
    return out


def _stopped(table: SeriesTable, sums: Sums, scope: CheckContext) -> Across:
    newest = int(sums.newest.max())
    for number in np.flatnonzero(sums.newest < newest - _SILENT_DAYS * scope.grid.steps_per_day):
        last = sums.last[number]
        detail = f"no value for {newest - sums.newest[number]} periods up to the feed's newest"
        yield int(number), int(table.bounds[number + 1]) - 1, 1, (last, last), detail


def _same_series(table: SeriesTable, sums: Sums, scope: CheckContext) -> Across:
    short = pl.DataFrame({"total": sums.total, "count": np.diff(table.bounds)}).with_row_index("number")
    twins = short.filter((pl.len().over("total", "count") > 1) & (pl.col("total") != 0))
    for _, group in twins.group_by("total", "count", maintain_order=True):
        first, *others = group["number"].to_list()
        values = table.values(*table.bounds[first : first + 2].tolist())
        for number in others:
            place, end = table.bounds[number : number + 2].tolist()
            if np.array_equal(values, table.values(place, end), equal_nan=True):
                detail = f"all values equal those of another series, {{{first}}}"
                yield number, place, end - place, (sums.first[number], sums.last[number]), detail


_WITHIN: dict[str, Callable[[FlatSeries, CheckContext], Found]] = {
    "gap": _gaps,
    "flat_line": _flat_lines,
    "spike": _spikes,
    "dropout": _dropouts,
    "repeated_block": _repeated_blocks,
}
_ACROSS: dict[str, Callable[[SeriesTable, Sums, CheckContext], Across]] = {
    "level_jump": _level_jumps,
    "stopped": _stopped,
    "same_series": _same_series,
}
_CHECKS = ("gap", "flat_line", "spike", "dropout", "level_jump", "repeated_block", "stopped", "same_series")
