"""Times of a feed: texts, dates and wall-clock times become UTC instants on the pipeline's grid."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import polars as pl

from model.checks.clock_changes import find_clock_change_faults, repeated_time_reasons
from model.checks.feed_shape import FeedShape
from model.checks.findings import Finding
from model.checks.wall_clock import to_instants, to_latest_instants, to_wall_clock
from model.timegrid import MINUTE, TimeGrid
from storage.schemas import FILE, INSTANT, DataError

_OFFSET = r"T.*[+-]\d{2}:?\d{2}$"
_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")


class ValidTimes(NamedTuple):
    """Start of the period of each of N rows, and what is wrong with it.

    Attributes:
        instants: Instants (UTC), null where a cell is not a time. On the grid, or on whole five minutes if the feed is
            resampled.
        problem: Problem with each time that was read but cannot be used, null where there is none. None without any.
        findings: What the feed's rows at clock changes show.
    """

    instants: pl.Series
    problem: pl.Series | None = None
    findings: tuple[Finding, ...] = ()


def valid_times(table: pl.DataFrame, feed: FeedShape, grid: TimeGrid) -> ValidTimes:
    """Return the start of the period of each row, and the problems with it."""
    times = _read(table[feed.valid_time], feed, feed.valid_time)
    if grid.step is None and not feed.resample:
        return ValidTimes(*_days(times, feed, grid))
    step, unit = (5 * MINUTE, "5m") if feed.resample or grid.step is None else (grid.step, grid.frequency)
    read = to_instants(times, feed.time_zone, partial(_sequences, table, feed), feed.fold)
    findings = find_clock_change_faults(table, times, read, feed) if len(read.skipped) or len(read.single) else ()
    is_off_grid = read.instants.dt.epoch("us") % step != (0 if feed.resample else grid.offset)
    if not (len(read.skipped) or len(read.open) or is_off_grid.any()):
        return ValidTimes(read.instants, None, findings)
    problem = pl.select(
        pl.when(is_off_grid)
        .then(pl.lit(_off_grid_reason(read.instants, unit, step)))
        .otherwise(pl.lit(None, pl.String))
    ).to_series()
    problem = problem.scatter(read.skipped, f"time does not exist in {feed.time_zone} (clock change)")
    return ValidTimes(read.instants, problem.scatter(read.open, repeated_time_reasons(times, read, feed)), findings)


def _off_grid_reason(instants: pl.Series, unit: str, step: int) -> str:
    """Return why times off the grid are refused. If all times lie on one other grid, name the setting that fits."""
    reason = f"time is not on the {unit} grid"
    offsets = (instants.dt.epoch("us") % step).unique().drop_nulls()
    if len(offsets) != 1 or len(instants) == 1 or offsets.item() % (5 * MINUTE):
        return reason
    minutes = offsets.item() // MINUTE
    return (
        f"{reason}: all periods of the feed begin {minutes} minutes after a whole period of UTC; set "
        f'pipeline.grid_offset = "{minutes}m" if those of the pipeline do'
    )


def _sequences(table: pl.DataFrame, feed: FeedShape, rows: pl.Series) -> pl.DataFrame:
    """Return series, file and availability (us) of rows, null where the feed has none."""
    absent = pl.repeat(None, len(rows), dtype=pl.Int64, eager=True)
    available = absent
    if feed.available_at is not None:
        cells = _read(table[feed.available_at].gather(rows), feed, feed.available_at)
        available = cells.dt.epoch("us")
    # A column that cannot be an id is an error of its own (`history_columns`).
    has_ids = feed.series_id is not None and not table[feed.series_id].dtype.is_nested()
    return pl.DataFrame({
        "series": table[feed.series_id].gather(rows) if has_ids and feed.series_id else absent,
        "file": table[FILE].gather(rows) if FILE in table.columns else absent,
        ":available": available,
    })  # fmt: skip


def available_times(table: pl.DataFrame, feed: FeedShape) -> pl.Series:
    """Return the instants (UTC) of the feed's `available_at` column, null where a cell is not a time.

    A time that a clock change repeats counts as the later instant, so that no value is known too early.
    """
    assert feed.available_at is not None
    return to_latest_instants(_read(table[feed.available_at], feed, feed.available_at), feed.time_zone)


def _days(times: pl.Series, feed: FeedShape, grid: TimeGrid) -> tuple[pl.Series, pl.Series | None]:
    """Return the starts of days, and the problem with each. The result is that of `valid_times`.

    Days and business days are named by their date, whatever the zone. A day that does not begin at midnight (a gas day)
    may also be named by the hour at which it begins.
    """
    day_start = pl.duration(microseconds=grid.day_start)
    wall = times
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone:
        # An instant names the day that begins with it, in the feed's zone or else in the pipeline's.
        in_feed_zone, in_grid_zone = (to_wall_clock(times, zone) for zone in (feed.time_zone, grid.timezone))
        wall = in_feed_zone.zip_with(_is_day_start(in_feed_zone, day_start), in_grid_zone)
    dates = wall.dt.date()
    days = dates.fill_null(pl.date(1970, 1, 5)).to_numpy().astype("datetime64[D]")
    frame = pl.DataFrame({
        "t": pl.Series(grid.start_of_dates(days)).cast(INSTANT),
        "is_date": dates.is_not_null(),
        "is_start": _is_day_start(wall, day_start),
        "is_closed": ~pl.Series(grid.is_period_date(days)),
    })  # fmt: skip
    result = frame.select(
        valid_time=pl.when("is_date").then("t"),
        problem=pl.when(pl.col("is_date") & ~pl.col("is_start"))
        .then(pl.lit(f"time is not {_day_start_text(grid)} in {feed.time_zone}, the start of the pipeline's days"))
        .when(pl.col("is_date") & pl.col("is_closed"))
        .then(pl.lit(f"not a business day of {grid.holidays or 'Monday to Friday'}")),
    )
    problem = result["problem"]
    return result["valid_time"], problem if problem.is_not_null().any() else None


def _is_day_start(wall: pl.Series, day_start: pl.Expr) -> pl.Series:
    midnight = wall.dt.truncate("1d")
    return pl.select((wall == midnight) | (wall == midnight + day_start)).to_series()


def _day_start_text(grid: TimeGrid) -> str:
    minutes = grid.day_start // MINUTE
    return f"midnight or {minutes // 60:02d}:{minutes % 60:02d}" if minutes else "midnight"


def _read(column: pl.Series, feed: FeedShape, name: str) -> pl.Series:
    """Return a column of times as Datetime, naive or with its zone, null where a text cannot be read."""
    dtype = column.dtype
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us"))
    if isinstance(dtype, pl.Datetime):
        return column.dt.cast_time_unit("us")
    if dtype == pl.String:
        return _parse(column)
    raise DataError(
        f"feed {feed.name!r}: column {name!r} has type {dtype}; times need dates, timestamps or ISO 8601 text"
    )


def _parse(column: pl.Series) -> pl.Series:
    """Parse ISO 8601 texts, with T or a blank between date and time.

    The first cell decides for the column: with an offset or Z all cells are instants, without one all are wall-clock
    times.
    """
    text = column.str.strip_chars().str.replace(" ", "T", literal=True).str.replace(r"Z$", "+00:00")
    has_offset = bool(text.drop_nulls().head(1).str.contains(_OFFSET).any())
    parsed = [
        text.str.to_datetime(form + ("%z" if has_offset else ""), time_unit="us", strict=False, exact=True)
        for form in _FORMATS
    ]
    if not has_offset:
        parsed.append(text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")))
    return pl.select(pl.coalesce(parsed)).to_series()
