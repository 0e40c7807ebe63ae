"""Aggregation of finer periods into those of the pipeline: quarters of an hour into hours, hours into local days.

Only complete periods are aggregated. A value is never invented for a missing part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.checks.finer_rows import ALWAYS, FinerRows, differs_from_previous
from model.timegrid import TimeGrid
from storage.schemas import INSTANT

_Scalar = TypeVar("_Scalar", bound=np.generic)
Bounds = tuple[float | None, float | None]

# Names of helper columns. A colon keeps them apart from the columns of a feed.
_ROW, _PERIOD, _PROBLEM = ":row", ":period", ":problem"


@dataclass(frozen=True)
class AggregatedRows:
    """Result of an aggregation of N rows.

    Attributes:
        accepted: Columns series_id, valid_time, available_at and values. One row per value of a period.
        period: Number of the period of each accepted row.
        origin: Number of the period that each row was merged into, -1 if into none, shape (N,).
        later: Mask of rows that are not available yet, or whose period is incomplete, shape (N,).
        reason: Why each row cannot be used, null if it can, shape (N,). None if all rows can.
    """

    accepted: pl.DataFrame
    period: NDArray[np.int64]
    origin: NDArray[np.int64]
    later: pl.Series
    reason: pl.Series | None


@dataclass(frozen=True)
class _Completeness:
    """State of P periods.

    Attributes:
        parts: Number of parts that each period consists of.
        known: Number of parts that each period has.
        single: Mask of periods that arrived as one value.
        complete: Mask of periods whose several parts are all known.
        waiting: Mask of incomplete periods whose missing parts may still arrive.
    """

    parts: NDArray[np.int64]
    known: NDArray[np.int64]
    single: NDArray[np.bool_]
    complete: NDArray[np.bool_]
    waiting: NDArray[np.bool_]


def aggregate_periods(
    rows: pl.DataFrame, usable: pl.Series, later: pl.Series, method: str, grid: TimeGrid, bounds: Bounds
) -> AggregatedRows:
    """Aggregate rows of finer periods into periods of the grid.

    If a part is revised, the period is revised at the same time, from the parts known then. If the parts known then
    give no value, the period's value becomes missing. An incomplete period is refused with all its rows, unless its
    missing parts may still arrive.

    Args:
        rows: Columns series_id, valid_time (start of the row's own period), available_at and values. N rows.
        usable: Mask of rows without a fault, shape (N,).
        later: Mask of usable rows that are not available yet, shape (N,). Only their times are used, to find the
            resolution.
        method: "sum", "mean" or "last".
        grid: Grid of the pipeline.
        bounds: Physical limits of a sum. The parts of a mean are checked before.
    """
    finer = FinerRows.of(rows.with_row_index(_ROW).filter(usable), grid)
    row, period = finer.rows[_ROW].to_numpy(), finer.period
    visible = ~later.to_numpy()[row]
    state = _completeness(finer, visible)
    members, starts = _complete_sets(finer, np.flatnonzero(visible & state.complete[period]))
    aggregated = _aggregate_sets(finer, members, starts, method, grid, bounds)
    verdicts = aggregated.group_by(_PERIOD, maintain_order=True).agg(
        is_good=pl.col(_PROBLEM).is_null().any(), problem=pl.col(_PROBLEM).first()
    )
    good = state.single.copy()
    good[verdicts[_PERIOD].to_numpy()] = verdicts["is_good"].to_numpy()

    origin = np.full(len(rows), -1)
    used = visible & good[period]
    origin[row[used]] = period[used]
    waiting = later.to_numpy().copy()
    waiting[row[visible & state.waiting[period]]] = True
    refused = visible & ~(good | state.waiting)[period]
    reason = None
    if refused.any():
        reason = pl.repeat(None, len(rows), dtype=pl.String, eager=True)
        reason = reason.scatter(row[refused], _reasons(state, verdicts, grid).gather(period[refused]))
    accepted = _accepted(finer, aggregated, visible & state.single[period], good)
    return AggregatedRows(
        accepted.drop(_PERIOD), accepted[_PERIOD].to_numpy(), origin, pl.Series(waiting), reason
    )  # fmt: skip


def _completeness(finer: FinerRows, visible: NDArray[np.bool_]) -> _Completeness:
    """Return the state of each period, counting the visible rows only."""
    parts = finer.length[finer.begins] // finer.resolutions()
    known = finer.count_times(visible)
    single = parts == 1
    complete = ~single & (known == parts)
    return _Completeness(
        parts, known, single, complete, ~single & ~complete & _may_complete(finer, visible, known, parts)
    )  # fmt: skip


def _may_complete(
    finer: FinerRows, visible: NDArray[np.bool_], known: NDArray[np.int64], parts: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return whether missing parts of a period may still arrive, shape (P,).

    They may if the feed already has a part that is not available yet, or if the newest period lacks only its end.
    """
    if not len(finer.begins):
        return np.zeros(0, bool)
    has_later_part = np.bincount(finer.period[~visible], minlength=len(finer.begins)) > 0
    is_newest = differs_from_previous(finer.series[::-1])[::-1]
    last = np.append(finer.begins[1:], len(finer.rows)) - 1
    lacks_end: NDArray[np.bool_] = finer.offset[last] == (known - 1) * (finer.length[last] // parts)
    return has_later_part | (is_newest & lacks_end)


def _complete_sets(finer: FinerRows, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sets of rows to aggregate, one set after the other, and where each set begins.

    A period without revisions is one set. A revised period has one set per instant at which a part became known, from
    the instant on at which all parts were known.

    Args:
        finer: All rows.
        rows: Rows of complete periods.
    """
    period = finer.period[rows]
    is_new_part = differs_from_previous(period) | differs_from_previous(finer.offset[rows])
    is_revised = np.bincount(period[~is_new_part], minlength=len(finer.begins)) > 0
    simple = rows[~is_revised[period]]
    starts = np.flatnonzero(differs_from_previous(finer.period[simple]))
    if not is_revised.any():
        return simple, starts
    rows = rows[is_revised[period]]
    table = pl.DataFrame({
        "period": finer.period[rows], "offset": finer.offset[rows], "at": finer.available[rows], "row": rows,
    })  # fmt: skip
    instants = table.select("period", "at").unique()
    every = instants.join(table.select("period", "offset").unique(), on="period")
    known = every.join(table, on=["period", "offset", "at"], how="left").sort("period", "offset", "at")
    known = known.with_columns(pl.col("row").forward_fill().over("period", "offset"))
    sets = known.filter(pl.col("row").is_not_null().all().over("period", "at")).sort("period", "at", "offset")
    begins = np.flatnonzero(
        differs_from_previous(sets["period"].to_numpy()) | differs_from_previous(sets["at"].to_numpy())
    )
    return np.concatenate([simple, sets["row"].to_numpy()]), np.concatenate([starts, begins + len(simple)])


def _aggregate_sets(
    finer: FinerRows, members: NDArray[np.int64], starts: NDArray[np.int64], method: str, grid: TimeGrid, bounds: Bounds
) -> pl.DataFrame:
    """Return one row per set: period, series_id, valid_time, available_at, values, and the problem with them."""
    first = members[starts]
    count = np.diff(starts, append=len(members))
    columns, problems = {}, [pl.lit(None, pl.String)]
    for name in finer.value_columns:
        value = finer.rows[name].cast(pl.Float64).to_numpy()[members]
        known = _reduce(np.add, ~np.isnan(value), starts, np.int64)
        result = value[starts + count - 1] if method == "last" else _reduce(np.add, value, starts, np.float64)
        columns[name] = pl.Series(result / count if method == "mean" else result).fill_nan(None)
        is_partial = pl.lit(pl.Series((known > 0) & (known < count)))
        reason = pl.format(f"{{}} of {{}} values of {name} within {grid.frequency}", pl.Series(known), pl.Series(count))
        problems.append(pl.when(is_partial).then(reason))
        if method == "sum":
            problems += _outside(name, bounds)
    available = _reduce(np.maximum, finer.available[members], starts, np.int64)
    frame = pl.DataFrame({
        _PERIOD: finer.period[first],
        "series_id": finer.rows["series_id"].gather(first),
        "valid_time": pl.Series(grid.start(finer.step[first])).cast(INSTANT),
        "available_at": pl.Series(available).set(pl.Series(available == ALWAYS), None).cast(INSTANT),
        **columns,
    })  # fmt: skip
    return frame.with_columns(pl.coalesce(problems).alias(_PROBLEM))


def _outside(name: str, bounds: Bounds) -> Iterator[pl.Expr]:
    """Yield expressions for the reason why a sum is outside the bounds, null where it is not."""
    for limit, is_outside, word in zip(bounds, (pl.Expr.lt, pl.Expr.gt), ("below", "above"), strict=True):
        if limit is not None:
            reason = pl.format(f"the sum of {name} is {word} the bound {limit}, got {{}}", pl.col(name))
            yield pl.when(is_outside(pl.col(name), limit)).then(reason)


def _accepted(
    finer: FinerRows, aggregated: pl.DataFrame, single: NDArray[np.bool_], good: NDArray[np.bool_]
) -> pl.DataFrame:
    """Return the accepted rows with their period: single values (mask of rows), and sets of good periods."""
    is_known = pl.when(pl.col(_PROBLEM).is_null())
    aggregated = aggregated.with_columns(is_known.then(pl.col(name)).alias(name) for name in finer.value_columns)
    return pl.concat([
        finer.rows.with_columns(pl.Series(_PERIOD, finer.period)).filter(pl.Series(single)).drop(_ROW),
        aggregated.filter(pl.Series(good[aggregated[_PERIOD].to_numpy()])).drop(_PROBLEM),
    ], how="diagonal").sort(_PERIOD, maintain_order=True)  # fmt: skip


def _reasons(state: _Completeness, verdicts: pl.DataFrame, grid: TimeGrid) -> pl.Series:
    """Return the reason why each period would be refused, shape (P,)."""
    counts = pl.format(f"{{}} of {{}} values within {grid.frequency}", pl.Series(state.known), pl.Series(state.parts))
    bad = verdicts.filter(~pl.col("is_good"))
    return pl.select(counts).to_series().scatter(bad[_PERIOD], bad["problem"])


def _reduce(
    function: np.ufunc, values: NDArray[np.generic], starts: NDArray[np.int64], dtype: type[_Scalar]
) -> NDArray[_Scalar]:
    """Reduce each set of values with a ufunc. Unlike `reduceat`, accept an empty list of sets."""
    if not len(starts):
        return np.zeros(0, dtype)
    reduced: NDArray[_Scalar] = function.reduceat(values, starts, dtype=dtype)
    return reduced
