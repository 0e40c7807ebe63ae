"""What a whole series shows that a single row does not: gaps, flat lines, spikes, jumps of level, repeated blocks,
series that stopped, series that are twice the same.

Each finding is of one series. Arrays are flat: series one after the other, N rows in all, times ascending within each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from model.timegrid import TimeGrid, local_naive
from storage.schemas import INSTANT, in_order

Action = Literal["accept", "warn", "quarantine"]

_FLAT = {"1d": 7, "1b": 5}  # equal periods in a row that are a flat line; half a day of shorter periods
_SPIKE = 5.0  # times the largest neighbour
_DROPOUT = 0.2  # of the series' mean: zero among neighbours above it
_MONTH, _DAYS = 28, 2
_JUMP, _ABRUPT = 2.0, 1.6  # ratio of the mean level of four weeks, and of two days, after and before
_COMPARED = 1000  # newest values of a series
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


@dataclass(frozen=True)
class Flat:
    """N values (float64, NaN missing) with their step numbers; series s is rows bounds[s] to bounds[s + 1]."""

    values: np.ndarray
    steps: np.ndarray
    bounds: np.ndarray

    @cached_property
    def series(self) -> np.ndarray:
        """(N,) number of the series of each row."""
        return np.repeat(np.arange(len(self.bounds) - 1, dtype=np.int32), np.diff(self.bounds))

    @cached_property
    def total(self) -> np.ndarray:
        """(S,) sums of the values that are there."""
        return np.add.reduceat(np.nan_to_num(self.values), self.bounds[:-1])

    @cached_property
    def mean(self) -> np.ndarray:
        """(S,) means of the values that are there, NaN where there are none or where one is negative.

        Ratios say nothing of what may be negative, such as a price.
        """
        count = np.add.reduceat(~np.isnan(self.values), self.bounds[:-1], dtype=np.int64)
        lowest = np.fmin.reduceat(self.values, self.bounds[:-1])
        return np.where((count > 0) & (lowest >= 0), self.total / np.maximum(count, 1), np.nan)

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
        near = self.steps[later] - self.steps[earlier] == size
        near &= self.series[later] == self.series[earlier]
        np.copyto(out[here], self.values[there], where=near)
        return out

    def by_series(self, wrong: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Series number and row numbers of the wrong (N,) rows, series by series."""
        rows = np.flatnonzero(wrong)
        if len(rows):
            cuts = np.flatnonzero(np.diff(self.series[rows])) + 1
            for part in np.split(rows, cuts):
                yield int(self.series[part[0]]), part


Found = Iterator[tuple[int, np.ndarray, str]]  # series number, row numbers, detail


def inspect(
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
    order, table, names = _flat(rows, value, grid)
    findings, reasons = [], None
    for check, look in _CHECKS.items():
        action = actions[check]
        if action == "accept":
            continue
        for number, places, detail in look(table, grid, season):
            detail = _NUMBER.sub(lambda found: repr(names[int(found[1])]), detail)
            first, last = pl.Series(grid.start(table.steps[places[[0, -1]]])).cast(INSTANT).to_list()
            findings.append(Finding(check, action, names[number], len(places), first, last, detail))
            if action == "quarantine":
                reasons = np.full(len(rows), None, dtype=object) if reasons is None else reasons
                reasons[places if order is None else order[places]] = f"{check}: {detail}"
    return findings, None if reasons is None else pl.Series(reasons.tolist(), dtype=pl.String)


def not_as_expected(rows: pl.DataFrame, value: str, expected: dict[str, float], action: Action) -> list[Finding]:
    """Series whose level is a multiple of the one that the pipeline file expects, as when a source sums four quarters.

    Args:
        rows: accepted rows: series_id, valid_time and `value`; the newest values of each series count.
        expected: mean level by series_id, in the target's unit.
    """
    if action == "accept" or not expected:
        return []
    recent = rows.filter(pl.col(value).is_not_null() & pl.col("series_id").is_in(list(expected)))
    found = recent.group_by("series_id", maintain_order=True).tail(_COMPARED).group_by("series_id", maintain_order=True)
    levels = found.agg(
        rows=pl.len(), first=pl.col("valid_time").min(), last=pl.col("valid_time").max(), level=pl.col(value).mean()
    )  # fmt: skip
    findings = []
    for row in levels.iter_rows(named=True):
        ratio = row["level"] / expected[row["series_id"]]
        if not 1 / _JUMP < ratio < _JUMP:
            detail = f"level {ratio:.3g} times the expected {expected[row['series_id']]:g}"
            findings.append(
                Finding("other_unit", action, row["series_id"], row["rows"], row["first"], row["last"], detail)
            )
    return findings


def other_unit(target: pl.DataFrame, value: str, covariate: pl.DataFrame, name: str, action: Action) -> list[Finding]:
    """Series that run beside a covariate of their own, such as an operator's forecast, but at a multiple of it.

    Args:
        target, covariate: accepted rows: series_id, valid_time and `value`, or `name`. The last weeks are compared.
    """
    if action == "accept" or covariate["series_id"].null_count():
        return []
    recent = target.filter(pl.col(value) > 0).group_by("series_id", maintain_order=True).tail(_COMPARED)
    both = recent.join(covariate.filter(pl.col(name) > 0), on=["series_id", "valid_time"], maintain_order="left")
    ratio = pl.col(value) / pl.col(name)
    found = both.group_by("series_id", maintain_order=True).agg(
        rows=pl.len(), first=pl.col("valid_time").min(), last=pl.col("valid_time").max(), middle=ratio.median(),
        spread=ratio.quantile(0.9) / ratio.quantile(0.1),
    )  # fmt: skip
    odd = (pl.col("rows") >= _COMPARED // 20) & (pl.col("spread") < 2) & ~pl.col("middle").is_between(0.7, 1.4)
    return [
        Finding(
            "other_unit", action, r["series_id"], r["rows"], r["first"], r["last"], f"{r['middle']:.3g} times {name}"
        )
        for r in found.filter(odd).iter_rows(named=True)
    ]


def _flat(rows: pl.DataFrame, value: str, grid: TimeGrid) -> tuple[np.ndarray | None, Flat, list[str | None]]:
    """Row numbers in the order of the flat arrays (None: as they are), the arrays, and the names of the series."""
    keys = rows.select("series_id", "valid_time", "available_at", value)
    order = None
    if not in_order(keys):
        keys = keys.with_row_index("row").sort("series_id", "valid_time", "available_at", maintain_order=True)
        keys = keys.unique(["series_id", "valid_time"], keep="last", maintain_order=True)
        order = keys["row"].to_numpy()
    run = keys["series_id"].rle_id().to_numpy()
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(run)) + 1, [len(run)]])
    steps = grid.index(keys["valid_time"].dt.epoch("us").to_numpy())
    values = keys[value].cast(pl.Float64).to_numpy()
    return order, Flat(values, steps, bounds), keys["series_id"].gather(bounds[:-1]).to_list()


def _gaps(table: Flat, grid: TimeGrid, season: int) -> Found:
    missing = np.diff(table.steps, prepend=table.steps[0]) - 1
    missing[table.bounds[:-1]] = 0
    for number, places in table.by_series(missing > 0):
        detail = f"{missing[places].sum()} periods missing in {len(places)} gaps"
        yield number, places, detail


def _flat_lines(table: Flat, grid: TimeGrid, season: int) -> Found:
    fewest = _FLAT.get(grid.frequency, grid.steps_per_day // 2)
    begins = np.flatnonzero(table.values != table.lag(1))
    length = np.diff(begins, append=len(table.values))
    long = length >= fewest
    if not long.any():
        return
    wrong = np.repeat(long, length)
    longest = np.repeat(length, length)
    for number, places in table.by_series(wrong):
        yield number, places, f"up to {longest[places].max()} equal values in a row"


def _neighbours(table: Flat, season: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least and greatest of the values one step and one season before and after, and how many there are."""
    least, greatest, count = (
        np.full(len(table.values), np.inf),
        np.zeros(len(table.values)),
        np.zeros(len(table.values), int),
    )
    for back in (1, -1, season, -season):
        near = table.lag(back)
        np.fmin(least, near, out=least)
        np.fmax(greatest, near, out=greatest)
        count = count + ~np.isnan(near)
    return least, greatest, count


def _spikes(table: Flat, grid: TimeGrid, season: int) -> Found:
    _, greatest, count = _neighbours(table, season)
    wrong = (table.values > _SPIKE * greatest) & (greatest > 0) & (count >= 2)
    wrong &= ~np.isnan(table.mean)[table.series]
    for number, places in table.by_series(wrong):
        most = (table.values[places] / greatest[places]).max()
        yield number, places, f"up to {most:.3g} times the largest value around"


def _dropouts(table: Flat, grid: TimeGrid, season: int) -> Found:
    zero = table.values == 0
    if not zero.any():
        return
    least, _, count = _neighbours(table, season)
    with np.errstate(invalid="ignore"):
        wrong = zero & (count >= 2) & (least > _DROPOUT * table.mean[table.series])
    for number, places in table.by_series(wrong):
        yield number, places, "zero where all values around are far from it"


def _level_jumps(table: Flat, grid: TimeGrid, season: int) -> Found:
    day = table.steps // grid.steps_per_day
    begins = np.flatnonzero((np.diff(day, prepend=day[0] - 1) != 0) | (np.diff(table.series, prepend=-1) != 0))
    count = np.add.reduceat(~np.isnan(table.values), begins, dtype=np.int64)
    total = np.add.reduceat(np.nan_to_num(table.values), begins)
    owner = table.series[begins]
    if len(total) < 2 * _MONTH:
        return
    ratio = _ratio(total, count, owner, _MONTH)
    abrupt = _ratio(total, count, owner, _DAYS)
    jump = np.maximum(ratio, 1 / ratio)
    same_way = (ratio > 1) == (abrupt > 1)
    found = (jump >= _JUMP) & (np.maximum(abrupt, 1 / abrupt) >= _ABRUPT) & same_way
    found &= ~np.isnan(table.mean)[owner]
    for number in np.unique(owner[found]):
        days = np.flatnonzero(found & (owner == number))
        place = days[jump[days].argmax()]
        yield int(number), begins[[place]], f"level {ratio[place]:.3g} times that of the {_MONTH} days before"


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


def _repeated_blocks(table: Flat, grid: TimeGrid, season: int) -> Found:
    """At a clock change some sources send an hour, or a day, twice (entsoe-py #468)."""
    if grid.step is None:
        return
    for change in _clock_changes(grid, int(table.steps.min()), int(table.steps.max()) + 1):
        near = slice(change - 2 * grid.steps_per_day, change + grid.steps_per_day)
        rows = np.flatnonzero((table.steps >= near.start) & (table.steps < near.stop))
        if not len(rows):
            continue
        owner = table.series[rows]
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(owner)) + 1, [len(rows)]])
        part = Flat(table.values[rows], table.steps[rows], bounds)
        wrong = np.zeros(len(rows), bool)
        for hours in (1, 24):
            wrong |= _blocks(part, hours * _HOUR // grid.step)
        for number, places in part.by_series(wrong):
            detail = "the same values as before the clock change"
            yield int(owner[bounds[number]]), rows[places], detail


def _blocks(part: Flat, back: int) -> np.ndarray:
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
    """Steps before `last`, from `first` on, at which the zone's offset from UTC changes."""
    steps = np.arange(first, last + grid.steps_per_day, max(1, _HOUR // (grid.step or _HOUR)))
    instants = grid.start(steps)
    offset = local_naive(instants, grid.timezone).astype(np.int64) - instants
    return steps[1:][np.diff(offset) != 0].tolist()


def _stopped(table: Flat, grid: TimeGrid, season: int) -> Found:
    there = np.where(np.isnan(table.values), np.iinfo(np.int64).min, table.steps)
    last = np.maximum.reduceat(there, table.bounds[:-1])
    newest = int(last.max())
    for number in np.flatnonzero(last < newest - _SILENT_DAYS * grid.steps_per_day):
        place = table.bounds[number + 1] - 1
        yield int(number), np.array([place]), f"no value for {newest - last[number]} periods up to the feed's newest"


def _same_series(table: Flat, grid: TimeGrid, season: int) -> Found:
    sums = pl.DataFrame({"total": table.total, "count": np.diff(table.bounds)}).with_row_index("number")
    twins = sums.filter((pl.len().over("total", "count") > 1) & (pl.col("total") != 0))
    for _, group in twins.group_by("total", "count", maintain_order=True):
        first, *others = group["number"].to_list()
        rows = slice(*table.bounds[first : first + 2])
        for number in others:
            also = slice(*table.bounds[number : number + 2])
            if np.array_equal(table.values[rows], table.values[also], equal_nan=True):
                places = np.arange(also.start, also.stop)
                yield number, places, f"all values equal those of another series, {{{first}}}"


_CHECKS: dict[str, Callable[[Flat, TimeGrid, int], Found]] = {
    "gap": _gaps,
    "flat_line": _flat_lines,
    "spike": _spikes,
    "dropout": _dropouts,
    "level_jump": _level_jumps,
    "repeated_block": _repeated_blocks,
    "stopped": _stopped,
    "same_series": _same_series,
}
