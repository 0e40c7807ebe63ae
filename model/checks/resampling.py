"""From finer periods to the pipeline's: quarters of an hour to hours, hours to local days.

How fine a feed is, is found from its times, period by period, since a feed may change in mid-series: European
day-ahead prices came in hours until 2025-09-30 and in quarters from then on. Only complete sets are aggregated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from model.timegrid import TimeGrid
from storage.schemas import INSTANT, is_sorted

_WHOLE = np.iinfo(np.int64).max  # resolution of a period that has one value, at its start
_ALWAYS = np.iinfo(np.int64).min
# Columns beside those that a feed names.
_ROW, _PERIOD, _PROBLEM = ":row", ":period", ":problem"
_STRETCH = 3  # periods in a row of one resolution that are not finer ones with holes


@dataclass(frozen=True)
class AggregatedRows:
    """Rows after folding; N rows were read.

    Attributes:
        accepted: series_id, valid_time, available_at, values: aggregated periods, and those that came whole.
        period: (rows of `accepted`,) number of the period of each.
        origin: (N,) number of the period into which each row went; -1: into none.
        later: (N,) rows that are not available yet, or that wait for the rest of their period.
        reason: (N,) why a row cannot be used; None if all can.
    """

    accepted: pl.DataFrame
    period: np.ndarray
    origin: np.ndarray
    later: pl.Series
    reason: pl.Series | None


def aggregate_periods(
    work: pl.DataFrame, usable: pl.Series, later: pl.Series, how: str, grid: TimeGrid,
    bounds: tuple[float | None, float | None],
) -> AggregatedRows:  # fmt: skip
    """Fold rows of finer periods into periods of the grid.

    Args:
        work: series_id, valid_time (start of the row's own period), available_at, values; N rows.
        usable: (N,) rows that nothing is wrong with; `later`: those of them that are not available yet. They
            tell how fine the feed is, and no more.
        how: `sum`, `mean`, or `last`.
        bounds: physical limits of a sum. Parts of a mean are held to them before.

    A part that is revised gives a revised value from that time on, with what was then known of the other parts;
    parts that no longer make a value make it missing. A period that lacks parts is refused, all of it, unless they
    may still come: then it waits.
    """
    parts = _Parts.of(work.with_row_index(_ROW).filter(usable), grid)
    rows, period = parts.rows[_ROW].to_numpy(), parts.period
    visible = ~later.to_numpy()[rows]
    expected = parts.length[parts.begins] // _resolutions(parts)
    have = parts.distinct(visible)
    whole = expected == 1
    complete = ~whole & (have == expected)
    places, starts = _sets(parts, np.flatnonzero(visible & complete[period]))
    aggregated = _folds(parts, places, starts, how, grid, bounds)
    judged = aggregated.group_by(_PERIOD, maintain_order=True).agg(
        good=pl.col(_PROBLEM).is_null().any(), why=pl.col(_PROBLEM).first()
    )  # fmt: skip
    good = whole.copy()
    good[judged[_PERIOD].to_numpy()] = judged["good"].to_numpy()
    waits = ~whole & ~complete & _may_come(parts, visible, have, expected)

    known = pl.when(pl.col(_PROBLEM).is_null())
    aggregated = aggregated.with_columns(known.then(pl.col(name)).alias(name) for name in parts.values)
    single = visible & whole[period]
    accepted = pl.concat([
        parts.rows.with_columns(pl.Series(_PERIOD, period)).filter(pl.Series(single)).drop(_ROW),
        aggregated.filter(pl.Series(good[aggregated[_PERIOD].to_numpy()])).drop(_PROBLEM),
    ], how="diagonal").sort(_PERIOD, maintain_order=True)  # fmt: skip
    origin = np.full(len(work), -1)
    used = visible & good[period]
    origin[rows[used]] = period[used]
    waiting = later.to_numpy().copy()
    waiting[rows[visible & waits[period]]] = True
    refused = visible & ~(good | waits)[period]
    reason = None
    if refused.any():
        came = pl.format(f"{{}} of {{}} values within {grid.frequency}", pl.Series(have), pl.Series(expected))
        spoilt = judged.filter(~pl.col("good"))
        why = pl.select(came).to_series().scatter(spoilt[_PERIOD], spoilt["why"])
        reason = pl.repeat(None, len(work), dtype=pl.String, eager=True)
        reason = reason.scatter(rows[refused], why.gather(period[refused]))
    return AggregatedRows(
        accepted.drop(_PERIOD), accepted[_PERIOD].to_numpy(), origin, pl.Series(waiting), reason
    )  # fmt: skip


@dataclass(frozen=True)
class _Parts:
    """M rows by series, time and availability, which fall into P periods.

    Attributes:
        step, offset, length: (M,) period of each row, microseconds since it began, and its length.
        available: (M,) microseconds.
        begins: (P,) the first row of each period.
    """

    rows: pl.DataFrame
    step: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    available: np.ndarray
    begins: np.ndarray

    @classmethod
    def of(cls, rows: pl.DataFrame, grid: TimeGrid) -> _Parts:
        if not is_sorted(rows):
            rows = rows.sort("series_id", "valid_time", "available_at", maintain_order=True)
        times = rows["valid_time"].to_physical().to_numpy()
        step = grid.index(times)
        start, end = grid.start(step), grid.end(step)
        available = rows["available_at"].to_physical().fill_null(_ALWAYS).to_numpy()
        series = rows["series_id"].rle_id().to_numpy()
        begins = np.flatnonzero(_changes(series) | _changes(step))
        return cls(rows, step, times - start, end - start, available, begins)

    @property
    def values(self) -> list[str]:
        """Names of the value columns."""
        return self.rows.columns[4:]

    @cached_property
    def period(self) -> np.ndarray:
        """(M,) number of the period of each row."""
        return np.repeat(np.arange(len(self.begins)), np.diff(self.begins, append=len(self.rows)))

    @cached_property
    def owner(self) -> np.ndarray:
        """(P,) number of the series of each period."""
        return self.rows["series_id"].rle_id().to_numpy()[self.begins].astype(np.int64)

    def distinct(self, among: np.ndarray) -> np.ndarray:
        """(P,) how many different times each period has, among the rows of a mask (M,)."""
        period, offset = self.period[among], self.offset[among]
        new = _changes(period) | _changes(offset)
        return np.bincount(period[new], minlength=len(self.begins))


def _changes(values: np.ndarray) -> np.ndarray:
    """Whether each value differs from the one before; the first does."""
    new = np.ones(len(values), bool)
    new[1:] = values[1:] != values[:-1]
    return new


def _resolutions(parts: _Parts) -> np.ndarray:
    """(P,) microseconds: the length of the parts in which each period came, or would have come.

    Half hours alone may be quarters with holes, and a value at the full hour may be the first quarter of an hour that
    lacks the others. So a resolution counts where it lasts; elsewhere the finest one around does.
    """
    if not len(parts.begins):
        return np.zeros(0, np.int64)
    length = parts.length[parts.begins]
    unit = np.gcd(np.gcd.reduceat(parts.offset, parts.begins), length)
    # Days differ in length; a whole one is a whole one.
    lone = (parts.distinct(np.ones(len(parts.rows), bool)) == 1) & (parts.offset[parts.begins] == 0)
    unit[lone] = _WHOLE
    run = np.cumsum(_changes(unit) | _changes(parts.owner)) - 1
    lasts = np.bincount(run)[run] >= _STRETCH
    finest = np.minimum(
        _last_lasting(unit, lasts, parts.owner), _last_lasting(unit[::-1], lasts[::-1], parts.owner[::-1])[::-1]
    )
    series = np.flatnonzero(_changes(parts.owner))
    none = finest == _WHOLE
    finest[none] = np.minimum.reduceat(unit, series)[parts.owner][none]
    found = np.where(lasts, unit, np.minimum(unit, finest))
    return np.where(found == _WHOLE, length, np.gcd(found, np.where(lone, length, np.gcd(unit, length))))


def _last_lasting(unit: np.ndarray, lasts: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """(P,) the last resolution that lasts, up to each period of a series; _WHOLE if there is none."""
    place = np.maximum.accumulate(np.where(lasts, np.arange(len(unit)), -1))
    return np.where((place >= 0) & (owner[place] == owner), unit[place], _WHOLE)


def _sets(parts: _Parts, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sets of parts to be aggregated, one after the other, and where each begins.

    One set for a period whose parts came once; else one for each time at which a part became known, from the first
    time on at which all were.

    Args:
        rows: of complete periods.
    """
    period = parts.period[rows]
    part = _changes(period) | _changes(parts.offset[rows])
    revised = np.bincount(period[~part], minlength=len(parts.begins)) > 0
    simple = rows[~revised[period]]
    starts = np.flatnonzero(_changes(parts.period[simple]))
    if not revised.any():
        return simple, starts
    rows = rows[revised[period]]
    table = pl.DataFrame({
        "period": parts.period[rows], "offset": parts.offset[rows], "at": parts.available[rows], "place": rows,
    })  # fmt: skip
    every = table.select("period", "at").unique().join(table.select("period", "offset").unique(), on="period")
    known = every.join(table, on=["period", "offset", "at"], how="left").sort("period", "offset", "at")
    known = known.with_columns(pl.col("place").forward_fill().over("period", "offset"))
    sets = known.filter(pl.col("place").is_not_null().all().over("period", "at")).sort("period", "at", "offset")
    begin = np.flatnonzero(_changes(sets["period"].to_numpy()) | _changes(sets["at"].to_numpy()))
    return np.concatenate([simple, sets["place"].to_numpy()]), np.concatenate([starts, begin + len(simple)])


def _folds(
    parts: _Parts, places: np.ndarray, starts: np.ndarray, how: str, grid: TimeGrid,
    bounds: tuple[float | None, float | None],
) -> pl.DataFrame:  # fmt: skip
    """One row a set: period, series_id, valid_time, available_at, values, and the problem with them, if any."""
    first = places[starts]
    count = np.diff(starts, append=len(places))
    columns, problems = {}, [pl.lit(None, pl.String)]
    for name in parts.values:
        value = parts.rows[name].cast(pl.Float64).to_numpy()[places]
        there = _over(np.add, ~np.isnan(value), starts, np.int64)
        aggregated = value[starts + count - 1] if how == "last" else _over(np.add, value, starts, np.float64)
        columns[name] = pl.Series(aggregated / count if how == "mean" else aggregated).fill_nan(None)
        some = pl.lit(pl.Series((there > 0) & (there < count)))
        why = pl.format(f"{{}} of {{}} values of {name} within {grid.frequency}", pl.Series(there), pl.Series(count))
        problems.append(pl.when(some).then(why))
        for limit, beyond, word in zip(bounds, (pl.Expr.lt, pl.Expr.gt), ("below", "above"), strict=True):
            if how == "sum" and limit is not None:
                why = pl.format(f"{name} is {{}} as a sum, {word} the bound {limit}", pl.col(name))
                problems.append(pl.when(beyond(pl.col(name), limit)).then(why))
    known = _over(np.maximum, parts.available[places], starts, np.int64)
    instants = pl.Series(known).set(pl.Series(known == _ALWAYS), None).cast(INSTANT)
    frame = pl.DataFrame({
        _PERIOD: parts.period[first], "series_id": parts.rows["series_id"].gather(first),
        "valid_time": pl.Series(grid.start(parts.step[first])).cast(INSTANT), "available_at": instants, **columns,
    })  # fmt: skip
    return frame.with_columns(pl.coalesce(problems).alias(_PROBLEM))


def _over(function: np.ufunc, values: np.ndarray, starts: np.ndarray, dtype: type) -> np.ndarray:
    """`reduceat` that also takes no sets at all."""
    return function.reduceat(values, starts, dtype=dtype) if len(starts) else np.zeros(0, dtype)


def _may_come(parts: _Parts, visible: np.ndarray, have: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(P,) whether missing parts of a period may still come: one is known to, or the newest period lacks its end."""
    if not len(parts.begins):
        return np.zeros(0, bool)
    coming = np.bincount(parts.period[~visible], minlength=len(parts.begins)) > 0
    newest = _changes(parts.owner[::-1])[::-1]
    last = np.append(parts.begins[1:], len(parts.rows)) - 1
    return coming | (newest & (parts.offset[last] == (have - 1) * (parts.length[last] // expected)))
