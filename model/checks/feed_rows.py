"""From a feed's rows as they came to history rows, and the refused ones with their reason.

Nothing is lost: every row read is accepted, kept for later (not yet available), or refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from model.checks.feed_shape import FeedShape
from model.checks.feed_times import available_times, valid_times
from model.checks.resampling import aggregate_periods
from model.checks.series import Action, Finding, check_series
from model.timegrid import MINUTE, TimeGrid
from storage.schemas import INSTANT, DataError, is_sorted

_KEY = ["series_id", "valid_time", "available_at"]
_DUPLICATE = "duplicate: a later row of the feed has the same series and time"
_NO_AGE = "time is before 1800 or after 2199"
_FIRST, _LAST = datetime(1800, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_LARGEST = float(np.finfo(np.float32).max)  # what a panel can hold
_MOST_TEXT = 0.5  # of a number column may be text before the column, not the rows, is called wrong


@dataclass(frozen=True)
class CheckedRows:
    """The rows of one read, sorted out.

    Attributes:
        accepted: series_id, valid_time, available_at, values.
        refused: the columns as they came, and `reason`.
        later: how many are not available yet at the as-of of the ingest, or wait for the rest of their period.
        findings: what whole series show; rows that they quarantine are among the refused.
        aggregated: how many more rows were read than are in `accepted`, since several became one.
    """

    accepted: pl.DataFrame
    refused: pl.DataFrame
    later: int
    findings: tuple[Finding, ...] = ()
    aggregated: int = 0

    @property
    def read(self) -> int:
        """How many rows were read."""
        return len(self.accepted) + self.aggregated + len(self.refused) + self.later


def check_rows(
    rows: pl.DataFrame,
    feed: FeedShape,
    grid: TimeGrid,
    bounds: tuple[float | None, float | None],
    as_of: datetime,
    season: int = 1,
    actions: dict[str, Action] | None = None,
) -> CheckedRows:
    """Sort out the rows of a feed as of `as_of`.

    Args:
        bounds: physical limits of a target; None: none.
        season, actions: of the checks of whole series, see `series_checks.inspect`; without actions there are none.

    Naive times are local in the feed's zone. A local time that a clock change skips is refused; of one that it
    repeats, the first row is the earlier instant and the second the later. Periods of a day or a business day
    are named by their date, whatever the zone. A missing value (null, NaN) is information and is accepted.

    A row is looked at twice only where something is wrong with its column: a clean feed costs a pass a column.

    Raises:
        DataError: the feed is empty, or a whole column is of the wrong kind.
    """
    if rows.is_empty():
        raise DataError(f"feed {feed.name!r}: there are no rows")
    time, time_problem = valid_times(rows, feed, grid)
    work = pl.DataFrame(
        {"series_id": _series(rows, feed), "valid_time": time}
        | {"available_at": _available_at(rows, time, feed, grid)}
        | {name: _number(rows, feed, name) for name in feed.values}
    )
    reason = _reason(rows, work, feed, grid, bounds, time_problem)
    reason = _superseded(work, reason)
    later = (work["available_at"] > as_of).fill_null(False)
    if reason is not None:
        later &= reason.is_null()
    # Of each accepted row the number of its group, and of each row read that of the one into which it went.
    group: np.ndarray | None = None
    origin = np.zeros(0, np.int64)
    if feed.resample:
        usable = pl.repeat(True, len(rows), eager=True) if reason is None else reason.is_null()
        done = aggregate_periods(
            work, usable, later, feed.resample, grid, bounds if feed.role == "target" else (None, None)
        )
        accepted, group, origin, later = done.accepted, done.period, done.origin, done.later
        reason = _first(reason, done.reason)
    else:
        keep = ~later if reason is None else ~later & reason.is_null()
        accepted = work if keep.all() else work.filter(keep)
    findings: list[Finding] = []
    for name in feed.values if actions else ():
        # Values near the largest are compared with infinity, which is as good.
        with np.errstate(over="ignore", invalid="ignore"):
            found, suspect = check_series(accepted.select(*_KEY, name), name, grid, season, actions or {})
        findings += found
        if suspect is not None:
            if group is None:
                group, origin = keep.arg_true().to_numpy(), np.where(keep, np.arange(len(rows)), -1)
            hit = suspect.is_not_null()
            why = pl.repeat(None, len(rows), dtype=pl.String, eager=True).scatter(group[hit], suspect.filter(hit))
            taken = why.gather(pl.Series(origin).replace(-1, None))
            reason, origin = _first(reason, taken), np.where(taken.is_null(), origin, -1)
            left = why.gather(group).is_null()
            accepted, group = accepted.filter(left), group[left]
    if reason is None:
        refused = rows.clear().with_columns(reason=pl.lit(None, dtype=pl.String))
    else:
        refused = rows.with_columns(reason=reason).filter(reason.is_not_null())
    aggregated = int((origin >= 0).sum()) - len(accepted) if feed.resample else 0
    return CheckedRows(accepted, refused, int(later.sum() or 0), tuple(findings), aggregated)


def _first(reason: pl.Series | None, more: pl.Series | None) -> pl.Series | None:
    """The reason of each row, of either that has one."""
    if reason is None or more is None:
        return more if reason is None else reason
    return pl.select(pl.coalesce(reason, more)).to_series()


def _series(rows: pl.DataFrame, feed: FeedShape) -> pl.Series:
    if feed.series_id is not None:
        names = rows[feed.series_id]
        if names.dtype.is_nested() or names.dtype in (pl.Binary, pl.Duration, pl.Object):
            raise DataError(f"feed {feed.name!r}: column {feed.series_id!r} holds {names.dtype} where names belong")
        return names.cast(pl.String)
    return pl.repeat(feed.name if feed.role == "target" else None, len(rows), dtype=pl.String, eager=True)


def _number(rows: pl.DataFrame, feed: FeedShape, name: str) -> pl.Series:
    """The column as numbers; null where it is missing, NaN or unreadable."""
    column = rows[name]
    dtype = column.dtype
    if dtype == pl.String:
        text = column.str.strip_chars()
        number = text.cast(pl.Float64, strict=False).fill_nan(None)
        filled = text != ""
        wrong = number.is_null() & filled & (text.str.to_lowercase() != "nan")
        if int(wrong.sum() or 0) > _MOST_TEXT * int(filled.sum() or 0):
            row = int(wrong.arg_true()[0])
            raise DataError(
                f"feed {feed.name!r}: column {name!r} holds text where numbers belong, first {text[row]!r} in row "
                f"{row + 1}; name the right column in values"
            )
        return number
    if not (dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null):
        raise DataError(f"feed {feed.name!r}: column {name!r} holds {dtype} where numbers belong")
    number = column.cast(pl.Float64)
    return number.fill_nan(None) if number.is_nan().any() else number


def _available_at(rows: pl.DataFrame, time: pl.Series, feed: FeedShape, grid: TimeGrid) -> pl.Series:
    """When each row became known (UTC); null for known_future rows of a feed that does not say."""
    if feed.available_at is not None:
        return available_times(rows, feed)
    if feed.role == "known_future":
        return pl.repeat(None, len(rows), dtype=INSTANT, eager=True)
    if grid.step and not feed.resample:
        return time + (timedelta(microseconds=grid.step) + feed.available_after)
    steps = grid.index(time.dt.epoch("us").fill_null(0).to_numpy())
    end = pl.Series(grid.end(steps)).cast(INSTANT).zip_with(time.is_not_null(), pl.Series([None], dtype=INSTANT))
    return end + feed.available_after


def _reason(
    rows: pl.DataFrame, work: pl.DataFrame, feed: FeedShape, grid: TimeGrid,
    bounds: tuple[float | None, float | None], time_problem: pl.Series | None,
) -> pl.Series | None:  # fmt: skip
    """Why each row cannot be used, null if it can; the first that applies. None if all rows can."""
    found: list[tuple[pl.Series, pl.Expr]] = []

    def refuse(wrong: pl.Series, why: pl.Expr) -> None:
        if wrong.any():
            found.append((wrong, why))

    unreadable = work["valid_time"].is_null()
    if time_problem is not None:
        refuse(time_problem.is_not_null(), pl.lit(time_problem))
        if grid.step and not feed.resample:
            why = f"one of several values within {grid.frequency}: the feed is of finer steps here (see resample)"
            refuse(_of_finer_steps(work, grid.step), pl.lit(why))
    refuse(unreadable, pl.lit(f"{feed.valid_time} is not a time"))
    refuse((work["valid_time"] < _FIRST) | (work["valid_time"] >= _LAST), pl.lit(_NO_AGE))
    if feed.series_id is not None:
        names = work["series_id"]
        refuse(names.is_null() | (names == ""), pl.lit(f"{feed.series_id} is empty"))
    if feed.available_at is not None:
        refuse(work["available_at"].is_null(), pl.lit(f"{feed.available_at} is not a time"))
        refuse(work["available_at"] < _FIRST, pl.lit(f"{feed.available_at}: {_NO_AGE}"))
    lower, upper = bounds if feed.role == "target" and feed.resample != "sum" else (None, None)
    for name in feed.values:
        value = work[name]
        if rows.schema[name] == pl.String:
            text = rows[name].str.strip_chars()
            wrong = value.is_null() & text.is_not_null() & (text != "") & (text.str.to_lowercase() != "nan")
            refuse(wrong, pl.format(f"{name} is not a number: '{{}}'", pl.lit(text)))
        if max(value.max() or 0.0, -(value.min() or 0.0)) > _LARGEST:  # type: ignore[operator,type-var]
            refuse(value.is_infinite(), pl.lit(f"{name} is infinite"))
            refuse(value.abs() > _LARGEST, pl.format(f"{name} is {{}}, beyond single precision", pl.lit(value)))
        if lower is not None:
            refuse(value < lower, pl.format(f"{name} is {{}}, below the bound {lower}", pl.lit(value)))
        if upper is not None:
            refuse(value > upper, pl.format(f"{name} is {{}}, above the bound {upper}", pl.lit(value)))
    if not found:
        return None
    return pl.select(pl.coalesce([pl.when(pl.lit(wrong)).then(why) for wrong, why in found])).to_series()


def _of_finer_steps(work: pl.DataFrame, step: int) -> pl.Series:
    """Rows on the grid that share their period with rows of whole five minutes: the first quarter is not the hour."""
    if not (work["valid_time"].dt.epoch("us") % step != 0).any():
        return pl.zeros(len(work), dtype=pl.Boolean, eager=True)
    start = pl.col("valid_time").dt.epoch("us")
    periods = work.select("series_id", period=start // step, off=start % step != 0, fine=start % (5 * MINUTE) == 0)
    shared = periods.filter(pl.col("off") & pl.col("fine")).select("series_id", "period", shared=pl.lit(True)).unique()
    joined = periods.join(shared, on=["series_id", "period"], how="left", nulls_equal=True, maintain_order="left")
    return joined.select(~pl.col("off") & pl.col("shared").fill_null(False)).to_series().fill_null(False)


def _superseded(work: pl.DataFrame, reason: pl.Series | None) -> pl.Series | None:
    """`reason`, and where it has none: a later row of the feed has the same series, time and availability."""
    usable = pl.Series(np.ones(len(work), bool)) if reason is None else reason.is_null()
    if is_sorted(work if reason is None else work.filter(usable)):
        return reason
    keys = work.select(_KEY).with_row_index("row").filter(usable)
    last = keys.group_by(_KEY, maintain_order=False).agg(pl.col("row").max())
    if len(last) == len(keys):
        return reason
    superseded = usable.to_numpy().copy()
    superseded[last["row"].to_numpy()] = False
    found = reason if reason is not None else pl.repeat(None, len(work), dtype=pl.String, eager=True)
    return pl.select(pl.when(pl.Series(superseded)).then(pl.lit(_DUPLICATE)).otherwise(pl.lit(found))).to_series()
