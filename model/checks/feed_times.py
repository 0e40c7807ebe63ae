"""Times of a feed: texts, dates and wall-clock times become UTC instants on the pipeline's grid."""

from __future__ import annotations

import polars as pl

from model.checks.feed_shape import FeedShape
from model.timegrid import MINUTE, TimeGrid
from storage.schemas import INSTANT, DataError

_OFFSET = r"T.*[+-]\d{2}:?\d{2}$"
_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")


def valid_times(table: pl.DataFrame, feed: FeedShape, grid: TimeGrid) -> tuple[pl.Series, pl.Series | None]:
    """Return the start of the period of each row, and the problem with it.

    Returns:
        Instants (UTC), null where a cell is not a time. On the grid, or on whole five minutes if the feed is resampled.
        Problems of times that were read but cannot be used, null where there is none, or None without any problem.
    """
    times = _read(table[feed.valid_time], feed, feed.valid_time)
    if grid.step is None and not feed.resample:
        return _days(times, feed, grid)
    step, unit = (5 * MINUTE, "5m") if feed.resample else (grid.step, grid.frequency)
    instants = to_utc(times, feed.time_zone, [table[name] for name in (feed.series_id, feed.available_at) if name])
    is_skipped = times.is_not_null() & instants.is_null()
    is_off_grid = instants.dt.epoch("us") % step != 0
    if not (is_skipped.any() or is_off_grid.any()):
        return instants, None
    problem = pl.select(
        pl.when(is_skipped).then(pl.lit(f"time does not exist in {feed.time_zone} (clock change)"))
        .when(is_off_grid).then(pl.lit(f"time is not on the {unit} grid"))
    ).to_series()  # fmt: skip
    return instants, problem


def available_times(table: pl.DataFrame, feed: FeedShape) -> pl.Series:
    """Return the instants (UTC) of the feed's `available_at` column, null where a cell is not a time."""
    assert feed.available_at is not None
    return to_utc(_read(table[feed.available_at], feed, feed.available_at), feed.time_zone, [])


def to_utc(times: pl.Series, zone: str, group_by: list[pl.Series]) -> pl.Series:
    """Return wall-clock times in `zone` as instants. Times with a zone of their own keep their instant.

    A time that a clock change skips becomes null. If a clock change repeats a time, the first of the equal rows is the
    earlier instant, and any further row is the later one.

    Args:
        times: Datetimes, naive or with a zone.
        zone: Zone of naive times.
        group_by: Columns whose equal values make rows comparable: one series, one publication.
    """
    own_zone = times.dtype.time_zone if isinstance(times.dtype, pl.Datetime) else None
    if own_zone:
        return times if own_zone == "UTC" else times.dt.convert_time_zone("UTC")
    if zone == "UTC":
        return times.dt.replace_time_zone("UTC")
    instants = times.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")
    is_unclear = instants.is_null() & times.is_not_null()
    if not is_unclear.any():
        return instants
    # Only the few rows at a clock change need the slower second conversion.
    rows = pl.DataFrame([times.alias("t"), *(column.alias(f"k{i}") for i, column in enumerate(group_by))])
    occurrence = pl.int_range(pl.len()).over(rows.columns) if group_by else pl.lit(0)
    earlier, later = (
        pl.col("t").dt.replace_time_zone(zone, ambiguous=which, non_existent="null") for which in ("earliest", "latest")
    )
    resolved = rows.filter(is_unclear).select(pl.when(occurrence > 0).then(later).otherwise(earlier)).to_series()
    return instants.scatter(is_unclear.arg_true(), resolved.dt.convert_time_zone("UTC"))


def _days(times: pl.Series, feed: FeedShape, grid: TimeGrid) -> tuple[pl.Series, pl.Series | None]:
    """Return the starts of days, and the problem with each. The result is that of `valid_times`.

    Days and business days are named by their date, whatever the zone. A day that does not begin at midnight (a gas day)
    may also be named by the hour at which it begins.
    """
    day_start = pl.duration(microseconds=grid.day_start)
    wall = times
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone:
        # An instant names the day that begins with it, in the feed's zone or else in the pipeline's.
        in_feed_zone, in_grid_zone = (
            times.dt.convert_time_zone(zone).dt.replace_time_zone(None) for zone in (feed.time_zone, grid.timezone)
        )
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
