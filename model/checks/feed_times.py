"""A feed's times: from texts, dates and wall clocks to UTC instants on the pipeline's grid."""

from __future__ import annotations

import polars as pl

from model.checks.feed_shape import FeedShape
from model.timegrid import MINUTE, TimeGrid
from storage.schemas import INSTANT, DataError

_OFFSET = r"T.*[+-]\d{2}:?\d{2}$"
_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")


def valid_times(table: pl.DataFrame, feed: FeedShape, grid: TimeGrid) -> tuple[pl.Series, pl.Series | None]:
    """Starts of the periods that the rows describe.

    Returns:
        Instants (UTC), null where the cell is no time; and texts of what is wrong with a time that can be read
        but not used (null: nothing), or None when nothing is wrong with any. Of a feed that is resampled, instants
        on whole five minutes.
    """
    times = _read(table[feed.valid_time], feed, feed.valid_time)
    if grid.step is None and not feed.resample:
        return _days(times, feed, grid)
    step, unit = (5 * MINUTE, "5m") if feed.resample else (grid.step, grid.frequency)
    instants = to_utc(times, feed.time_zone, [table[c] for c in (feed.series_id, feed.available_at) if c])
    skipped = times.is_not_null() & instants.is_null()
    off = instants.dt.epoch("us") % step != 0
    if not (skipped.any() or off.any()):
        return instants, None
    problem = pl.select(
        pl.when(skipped).then(pl.lit(f"time does not exist in {feed.time_zone} (clock change)"))
        .when(off).then(pl.lit(f"time is not on the {unit} grid"))
    ).to_series()  # fmt: skip
    return instants, problem


def available_times(table: pl.DataFrame, feed: FeedShape) -> pl.Series:
    """Instants of the feed's `available_at` column (UTC), null where the cell is no time."""
    assert feed.available_at is not None
    return to_utc(_read(table[feed.available_at], feed, feed.available_at), feed.time_zone, [])


def to_utc(times: pl.Series, zone: str, within: list[pl.Series]) -> pl.Series:
    """Wall-clock times in `zone` as instants; times that carry a zone of their own keep their instant.

    A time that a clock change skips becomes null. Of a time that one repeats, the first row (among the rows of
    equal `within`: one series, one publication) is the earlier instant, and any further one the later.
    """
    own = times.dtype.time_zone if isinstance(times.dtype, pl.Datetime) else None
    if own:
        return times if own == "UTC" else times.dt.convert_time_zone("UTC")
    if zone == "UTC":
        return times.dt.replace_time_zone("UTC")
    instants = times.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")
    unsure = instants.is_null() & times.is_not_null()
    if not unsure.any():
        return instants
    # Few rows: only those at a clock change are looked at twice.
    rows = pl.DataFrame([times.alias("t"), *(column.alias(f"k{i}") for i, column in enumerate(within))])
    order = pl.int_range(pl.len()).over(rows.columns) if within else pl.lit(0)
    earlier, later = (
        pl.col("t").dt.replace_time_zone(zone, ambiguous=which, non_existent="null") for which in ("earliest", "latest")
    )
    resolved = rows.filter(unsure).select(pl.when(order > 0).then(later).otherwise(earlier)).to_series()
    return instants.scatter(unsure.arg_true(), resolved.dt.convert_time_zone("UTC"))


def _days(times: pl.Series, feed: FeedShape, grid: TimeGrid) -> tuple[pl.Series, pl.Series | None]:
    """Days and business days are named by their date, whatever the zone; a gas day also by the hour it begins."""
    start = pl.duration(microseconds=grid.day_start)
    wall = times
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone:
        # An instant names the day that begins with it, in the feed's zone or else in the pipeline's.
        feeds, own = (
            times.dt.convert_time_zone(zone).dt.replace_time_zone(None) for zone in (feed.time_zone, grid.timezone)
        )
        begins = pl.select((feeds == feeds.dt.truncate("1d")) | (feeds == feeds.dt.truncate("1d") + start)).to_series()
        wall = feeds.zip_with(begins, own)
    midnight = wall.dt.truncate("1d")
    begins = pl.select((wall == midnight) | (wall == midnight + start)).to_series()
    dates = wall.dt.date()
    days = dates.fill_null(pl.date(1970, 1, 5)).to_numpy().astype("datetime64[D]")
    instants = pl.Series(grid.start_of_dates(days)).cast(INSTANT)
    closed = ~pl.Series(grid.is_period_date(days))
    known = dates.is_not_null()
    frame = pl.DataFrame({"t": instants, "known": known, "begins": begins, "closed": closed})
    done = frame.select(
        valid_time=pl.when("known").then("t"),
        problem=pl.when(pl.col("known") & ~pl.col("begins"))
        .then(pl.lit(f"time is not {_clock(grid)} in {feed.time_zone}, as days of the pipeline begin"))
        .when(pl.col("known") & pl.col("closed"))
        .then(pl.lit(f"not a business day of {grid.holidays or 'Monday to Friday'}")),
    )
    problem = done["problem"]
    return done["valid_time"], problem if problem.is_not_null().any() else None


def _clock(grid: TimeGrid) -> str:
    minutes = grid.day_start // 60_000_000
    return f"midnight or {minutes // 60:02d}:{minutes % 60:02d}" if minutes else "midnight"


def _read(column: pl.Series, feed: FeedShape, name: str) -> pl.Series:
    """A column of times as Datetime, naive or with its zone; null where a text cannot be read."""
    dtype = column.dtype
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us"))
    if isinstance(dtype, pl.Datetime):
        return column.dt.cast_time_unit("us")
    if dtype == pl.String:
        return _text(column)
    raise DataError(f"feed {feed.name!r}: column {name!r} holds {dtype} where times belong")


def _text(column: pl.Series) -> pl.Series:
    """ISO 8601, with a blank for the T if the source likes it so. One cell in two ways at most: a column whose
    first cell names an offset or Z holds instants, any other wall-clock times.
    """
    text = column.str.strip_chars().str.replace(" ", "T", literal=True).str.replace(r"Z$", "+00:00")
    zoned = bool(text.drop_nulls().head(1).str.contains(_OFFSET).any())
    tries = [
        text.str.to_datetime(form + ("%z" if zoned else ""), time_unit="us", strict=False, exact=True)
        for form in _FORMATS
    ]
    if not zoned:
        tries.append(text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")))
    return pl.select(pl.coalesce(tries)).to_series()
