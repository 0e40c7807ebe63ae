"""Times of a feed: texts, dates and wall-clock times become UTC instants on the pipeline's grid."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import NamedTuple

import polars as pl

from model.checks.clock_changes import find_clock_change_faults, repeated_time_reason, skipped_time_reason
from model.checks.end_labels import names_clock_hours
from model.checks.feed_shape import FeedShape
from model.checks.findings import Finding
from model.checks.row_places import row_place
from model.checks.time_texts import ACCEPTED_TIMES, ParsedTimes, parse_times, suggested_format, swapped_format
from model.checks.wall_clock import (
    LatestInstants,
    WallClockTimes,
    has_clock_changes,
    is_repeated,
    to_instants,
    to_latest_instants,
    to_wall_clock,
)
from model.timegrid import MINUTE, TimeGrid
from storage.schemas import FILE, INSTANT, DataError

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


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
    cells, problem = _read(table[feed.valid_time], feed, feed.valid_time)
    _require_order_of_day_and_month(table, cells, feed)
    if feed.label == "start" and cells.ends is not None and cells.ends.any():
        raise DataError(_end_of_day_text(table, cells.ends, feed))
    parts = [_period_starts(times, table, feed, grid) for times in (cells.local, cells.instants) if times is not None]
    instants = parts[0].instants
    for part in parts[1:]:
        instants = instants.zip_with(instants.is_not_null(), part.instants)
    for part in parts:
        problem = _first(problem, part.problem)
    return ValidTimes(instants, problem, tuple(finding for part in parts for finding in part.findings))


def _period_starts(times: pl.Series, table: pl.DataFrame, feed: FeedShape, grid: TimeGrid) -> ValidTimes:
    """Return the starts of periods that wall-clock times or instants name."""
    if grid.step is None and not feed.resample:
        return ValidTimes(*_days(times, feed, grid))
    step, unit = (5 * MINUTE, "5m") if feed.resample or grid.step is None else (grid.step, grid.frequency)
    length = feed.period or timedelta(microseconds=step)
    wall, read = _resolve_clock(times, length, table, feed)
    findings = find_clock_change_faults(table, wall, read, feed) if len(read.skipped) or len(read.single) else ()
    is_off_grid = read.instants.dt.epoch("us") % step != (0 if feed.resample else grid.offset)
    if not (len(read.skipped) or len(read.open) or is_off_grid.any()):
        return ValidTimes(read.instants, None, findings)
    problem = pl.select(
        pl.when(is_off_grid)
        .then(pl.lit(_off_grid_reason(read.instants, unit, step)))
        .otherwise(pl.lit(None, pl.String))
    ).to_series()
    problem = problem.scatter(read.skipped, skipped_time_reason(feed))
    return ValidTimes(read.instants, problem.scatter(read.open, repeated_time_reason(feed)), findings)


def _resolve_clock(
    times: pl.Series, length: timedelta, table: pl.DataFrame, feed: FeedShape
) -> tuple[pl.Series, WallClockTimes]:
    """Return the wall-clock times that the feed names its periods by, and the instants at which the periods start.

    Args:
        times: Times as they were read.
        length: Length of a period.
        table: The table as it was read.
        feed: Layout of the table.
    """
    names_starts = feed.label == "start"
    if not names_starts and has_clock_changes(times, feed.time_zone):
        keys = [table[name] for name in (feed.series_id, feed.available_at, FILE) if name in table.columns]
        if names_clock_hours(times, length, feed.time_zone, keys):
            times, names_starts = times - length, True
    read = to_instants(times, feed.time_zone, partial(_sequences, table, feed), feed.fold)
    return times, read if names_starts else read._replace(instants=read.instants - length)


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
    """Return series, file and availability (us) of rows, null where the feed has none.

    The column :is_unclear marks wall-clock times of availability that a clock change repeats.
    """
    absent = pl.repeat(None, len(rows), dtype=pl.Int64, eager=True)
    available, unclear = absent, pl.repeat(False, len(rows), dtype=pl.Boolean, eager=True)
    if feed.available_at is not None:
        cells, _ = _read(table[feed.available_at].gather(rows), feed, feed.available_at)
        for times in (cells.local, cells.instants):
            if times is not None:
                available = available.zip_with(available.is_not_null(), times.dt.epoch("us"))
        if cells.local is not None:
            unclear = is_repeated(cells.local, feed.time_zone)
    # A column that cannot be an id is an error of its own (`history_columns`).
    has_ids = feed.series_id is not None and not table[feed.series_id].dtype.is_nested()
    return pl.DataFrame({
        "series": table[feed.series_id].gather(rows) if has_ids and feed.series_id else absent,
        "file": table[FILE].gather(rows) if FILE in table.columns else absent,
        ":available": available,
        ":is_unclear": unclear,
    })  # fmt: skip


def available_times(table: pl.DataFrame, feed: FeedShape) -> LatestInstants:
    """Return the instants (UTC) of the feed's `available_at` column, null where a cell is not a time.

    A time that a clock change repeats or skips counts as the later instant, so that no value is known too early.
    """
    assert feed.available_at is not None
    cells, problem = _read(table[feed.available_at], feed, feed.available_at)
    instants = None if cells.instants is None else to_latest_instants(cells.instants, "UTC").instants
    unclear = pl.Series([], dtype=pl.UInt32)
    if cells.local is not None:
        local = cells.local
        if cells.dates is not None:
            # Of a day without a time nothing is known before it ends.
            local = local.zip_with(~cells.dates, local + _DAY)
        of_local, unclear = to_latest_instants(local, feed.time_zone)
        if cells.dates is not None:
            unclear = unclear.filter(~cells.dates.gather(unclear))  # The end of a day is clear.
        instants = of_local if instants is None else instants.zip_with(instants.is_not_null(), of_local)
    assert instants is not None
    return LatestInstants(instants if problem is None else instants.set(problem.is_not_null(), None), unclear)


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
    if feed.label == "end":
        wall = wall - _DAY
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


def _read(column: pl.Series, feed: FeedShape, name: str) -> tuple[ParsedTimes, pl.Series | None]:
    """Return a column of times, and the problem with each cell that was read but cannot be used."""
    dtype, formats = column.dtype, feed.text.time_formats
    if dtype == pl.String or (formats and (dtype.is_integer() or _has_whole_numbers(column))):
        return parse_times(column, formats)
    if formats and feed.available_at is None:
        raise DataError(
            f"feed {feed.name!r}: column {name!r} has type {dtype}, so options.time_format has no meaning; remove it"
        )
    if dtype == pl.Date:
        return ParsedTimes(column.cast(pl.Datetime("us")), None, column.is_not_null()), None
    if isinstance(dtype, pl.Datetime):
        times = column.dt.cast_time_unit("us")
        return (ParsedTimes(None, times) if dtype.time_zone else ParsedTimes(times, None)), None
    raise DataError(_type_text(column, feed, name))


def _has_whole_numbers(column: pl.Series) -> bool:
    # A source of JSON delivers whole numbers as floats.
    return column.dtype.is_float() and not bool((column.drop_nulls() % 1 != 0).any())


def _type_text(column: pl.Series, feed: FeedShape, name: str) -> str:
    """Return the error about a column whose type is not one of times."""
    cells = column.drop_nulls().head(1)
    cell = "" if cells.is_empty() else str(cells.item()).removesuffix(".0")
    first = f" (first: {cell})" if column.dtype.is_numeric() and cell else ""
    form = suggested_format(cell)
    likely = f' If the numbers are times, set time_format = "{form}" in [feed.options].' if first and form else ""
    return (
        f"feed {feed.name!r}: column {name!r} has type {column.dtype}{first}; times need dates, timestamps or text "
        f"such as {ACCEPTED_TIMES}.{likely}"
    )


def _require_order_of_day_and_month(table: pl.DataFrame, cells: ParsedTimes, feed: FeedShape) -> None:
    """Raise DataError if the declared format has day and month in the wrong order."""
    column, formats = table[feed.valid_time], feed.text.time_formats
    if not formats or column.dtype != pl.String or cells.is_read.all():
        return
    swapped = swapped_format(column, cells.is_read, formats)
    if swapped is not None:
        row = int((~cells.is_read & (column.str.strip_chars() != "")).arg_true()[0])
        place = row_place(row, table.get_column(FILE, default=None))
        raise DataError(
            f"feed {feed.name!r}: column {feed.valid_time!r} has the time {column[row]!r} in {place}, which is no time "
            f'of options.time_format = "{formats[0]}", but of "{swapped}". Day and month of the other times would '
            f'be swapped. Set time_format = "{swapped}" in [feed.options].'
        )


def _end_of_day_text(table: pl.DataFrame, ends: pl.Series, feed: FeedShape) -> str:
    row = int(ends.arg_true()[0])
    cell, place = table[feed.valid_time][row], row_place(row, table.get_column(FILE, default=None))
    return (
        f"feed {feed.name!r}: column {feed.valid_time!r} has the time {cell!r} in {place}, which only the "
        'end of a period can have. Set label = "end" in [feed.options] if the column names the end of each period.'
    )


def _first(problem: pl.Series | None, more: pl.Series | None) -> pl.Series | None:
    """Return the problem of each row, from the first of two columns that has one."""
    if problem is None or more is None:
        return more if problem is None else problem
    return problem.zip_with(problem.is_not_null(), more)
