"""From a feed's rows as they came to history rows, and the refused ones with their reason.

Nothing is lost: every row read is accepted, kept for later (not yet available), or refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from model.timegrid import TimeGrid, midnights
from storage.schemas import INSTANT, DataError

_ROW = "gatecast:row"
_OFFSET = r"T.*[+-]\d{2}:?\d{2}$"
_DUPLICATE = "duplicate: a later row of the feed has the same series and time"
_MOST_TEXT = 0.5  # of a number column may be text before the column, not the rows, is called wrong


@dataclass(frozen=True)
class FeedShape:
    """How a feed's table is to be read; see `[[feed]]` of the pipeline file."""

    name: str
    role: str
    series_id: str | None
    valid_time: str
    values: tuple[str, ...]
    time_zone: str
    available_after: timedelta
    available_at: str | None

    @property
    def columns(self) -> list[str]:
        """The columns that the source must have."""
        named = [self.series_id, self.valid_time, self.available_at, *self.values]
        return list(dict.fromkeys(column for column in named if column is not None))


@dataclass(frozen=True)
class Checked:
    """The rows of one read, sorted out.

    Attributes:
        accepted: series_id, valid_time, available_at, values.
        refused: the columns as they came, and `reason`.
        later: how many are not available yet at the as-of of the ingest.
    """

    accepted: pl.DataFrame
    refused: pl.DataFrame
    later: int


def check(
    rows: pl.DataFrame,
    feed: FeedShape,
    grid: TimeGrid,
    bounds: tuple[float | None, float | None],
    as_of: datetime,
) -> Checked:
    """Sort out the rows of a feed as of `as_of`.

    Naive times are local in the feed's zone. A local time that a clock change skips is refused; of one that it
    repeats, the first row is the earlier instant and the second the later. Periods of a day or a business day
    are named by their date, whatever the zone. A missing value (null, NaN) is information and is accepted.

    Raises:
        DataError: the feed is empty, or a whole column is of the wrong kind.
    """
    if rows.is_empty():
        raise DataError(f"feed {feed.name!r}: there are no rows")
    table = rows.with_row_index(_ROW)
    work = table.select(
        _ROW,
        series_id=_series(table, feed),
        **{f"value:{name}": _number(table, feed, name) for name in feed.values},
        **{f"raw:{name}": pl.col(name).cast(pl.String, strict=False) for name in feed.values},
    ).with_columns(_valid_time(table, feed, grid))
    work = work.with_columns(available_at=_available_at(table, work, feed, grid))
    work = work.with_columns(reason=_reason(work, feed, grid, bounds))
    key = ["series_id", "valid_time", "available_at"]
    # Of several rows of one key the last in the feed counts; refusing the others keeps the sum of rows right.
    if work.select(pl.struct([*key, "reason"]).is_duplicated().any()).item():
        group = [*key, "reason"]
        superseded = pl.col("reason").is_null() & (pl.int_range(pl.len()).over(group) < pl.len().over(group) - 1)
        work = work.with_columns(reason=pl.when(superseded).then(pl.lit(_DUPLICATE)).otherwise("reason"))
    is_later = pl.col("reason").is_null() & (pl.col("available_at") > as_of)
    accepted = work.filter(pl.col("reason").is_null() & ~is_later.fill_null(False))
    accepted = accepted.select(*key, **{name: f"value:{name}" for name in feed.values})
    refused = table.join(work.filter(pl.col("reason").is_not_null()).select(_ROW, "reason"), on=_ROW)
    return Checked(accepted, refused.sort(_ROW).drop(_ROW), work.select(is_later.fill_null(False).sum()).item())


def _series(table: pl.DataFrame, feed: FeedShape) -> pl.Expr:
    if feed.series_id is not None:
        return pl.col(feed.series_id).cast(pl.String)
    return pl.lit(feed.name if feed.role == "target" else None, dtype=pl.String)


def _number(table: pl.DataFrame, feed: FeedShape, name: str) -> pl.Expr:
    dtype = table.schema[name]
    if dtype == pl.String:
        text = pl.col(name).str.strip_chars()
        number = text.cast(pl.Float64, strict=False).fill_nan(None)
        wrong = table.select(
            bad=(number.is_null() & (text != "")).sum(), full=(text != "").sum(),
            example=text.filter(number.is_null() & (text != "")).first(),
            row=(number.is_null() & (text != "")).arg_true().first(),
        ).row(0, named=True)  # fmt: skip
        if wrong["full"] and wrong["bad"] / wrong["full"] > _MOST_TEXT:
            raise DataError(
                f"feed {feed.name!r}: column {name!r} holds text where numbers belong, first "
                f"{wrong['example']!r} in row {wrong['row'] + 1}; name the right column in values"
            )
        return number
    if not (dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null):
        raise DataError(f"feed {feed.name!r}: column {name!r} holds {dtype} where numbers belong")
    return pl.col(name).cast(pl.Float64, strict=False).fill_nan(None)


def _valid_time(table: pl.DataFrame, feed: FeedShape, grid: TimeGrid) -> list[pl.Series]:
    """`valid_time` in UTC, null where it cannot be read, and `time_problem` where it can be read but not used."""
    time = _times(table[feed.valid_time], feed, feed.valid_time)
    if grid.step:
        within = [table[c] for c in (feed.series_id, feed.available_at) if c]
        instants = _to_utc(time, feed, within or [pl.zeros(len(table), eager=True)])
        unusable = time.is_not_null() & instants.is_null()
        off = instants.dt.epoch("us") % grid.step != 0
        problem = pl.select(
            pl.when(unusable).then(pl.lit(f"time does not exist in {feed.time_zone} (clock change)"))
            .when(off).then(pl.lit(f"time is not on the {grid.frequency} grid"))
        ).to_series()  # fmt: skip
        return [instants.alias("valid_time"), problem.alias("time_problem")]
    local = time
    if _zone(time):
        # An instant names the day that begins with it, in the feed's zone or else in the pipeline's.
        feed_time, own_time = (
            time.dt.convert_time_zone(zone).dt.replace_time_zone(None) for zone in (feed.time_zone, grid.timezone)
        )
        local = feed_time.zip_with(feed_time == feed_time.dt.truncate("1d"), own_time)
    dates = local.dt.date()
    off = local != dates.cast(pl.Datetime("us"))
    days = dates.fill_null(pl.date(1970, 1, 5)).to_numpy().astype("datetime64[D]")
    closed = pl.Series(~grid.is_day(days))
    instants = pl.Series(midnights(days, grid.timezone)).cast(INSTANT)
    frame = pl.DataFrame({"t": instants, "d": dates, "off": off, "closed": closed})
    return frame.select(
        valid_time=pl.when(pl.col("d").is_not_null()).then("t"),
        time_problem=pl.when("off").then(pl.lit(f"time is not midnight in {feed.time_zone}, as days of the feed begin"))
        .when("closed").then(pl.lit(f"not a business day of {grid.holidays or 'Monday to Friday'}")),
    ).get_columns()  # fmt: skip


def _times(column: pl.Series, feed: FeedShape, name: str) -> pl.Series:
    """A column of times as Datetime, naive or with its zone; null where a text cannot be read."""
    dtype = column.dtype
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us"))
    if isinstance(dtype, pl.Datetime):
        return column.dt.cast_time_unit("us")
    if dtype == pl.String:
        text = column.str.strip_chars().str.replace(" ", "T", literal=True).str.replace(r"Z$", "+00:00")
        # With an offset or a Z the text names an instant; without, a wall-clock time.
        zoned = bool(text.drop_nulls().head(1).str.contains(_OFFSET).any())
        formats = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
        tries = [
            text.str.to_datetime(form + ("%z" if zoned else ""), time_unit="us", strict=False, exact=True)
            for form in formats
        ]
        if not zoned:
            tries.append(text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")))
        return pl.select(pl.coalesce(tries)).to_series()
    raise DataError(f"feed {feed.name!r}: column {name!r} holds {dtype} where times belong")


def _zone(times: pl.Series) -> str | None:
    return times.dtype.time_zone if isinstance(times.dtype, pl.Datetime) else None


def _to_utc(times: pl.Series, feed: FeedShape, within: list[pl.Series]) -> pl.Series:
    if _zone(times):
        return times.dt.convert_time_zone("UTC")
    frame = pl.DataFrame([times.alias("t"), *(column.alias(f"k{i}") for i, column in enumerate(within))])
    earliest, latest = (
        pl.col("t").dt.replace_time_zone(feed.time_zone, ambiguous=which, non_existent="null")
        for which in ("earliest", "latest")
    )
    # A repeated local hour: its second row (of a series, and of one publication) is the later instant.
    second = pl.int_range(pl.len()).over(frame.columns) > 0 if within else pl.lit(False)
    repeated = earliest != latest
    return frame.select(
        pl.when(repeated & second).then(latest).otherwise(earliest).dt.convert_time_zone("UTC")
    ).to_series()


def _available_at(table: pl.DataFrame, work: pl.DataFrame, feed: FeedShape, grid: TimeGrid) -> pl.Series:
    """When each row became known (UTC); null for known_future rows of a feed that does not say."""
    if feed.available_at is not None:
        return _to_utc(_times(table[feed.available_at], feed, feed.available_at), feed, [])
    if feed.role == "known_future":
        return pl.repeat(None, len(work), dtype=INSTANT, eager=True)
    start = work["valid_time"].dt.epoch("us")
    if grid.step:
        end = start + grid.step
    else:
        steps = grid.index(start.fill_null(0).to_numpy())
        end = pl.select(pl.when(start.is_not_null()).then(pl.Series(grid.end(steps)))).to_series()
    return (end + int(feed.available_after / timedelta(microseconds=1))).cast(INSTANT)


def _reason(work: pl.DataFrame, feed: FeedShape, grid: TimeGrid, bounds: tuple[float | None, float | None]) -> pl.Expr:
    """Why a row cannot be used, null if it can; the first that applies."""
    lower, upper = bounds if feed.role == "target" else (None, None)
    found = [
        pl.when(pl.col("valid_time").is_null() & pl.col("time_problem").is_null()).then(
            pl.lit(f"{feed.valid_time} is not a time")
        ),
        pl.col("time_problem"),
    ]
    if feed.series_id is not None:
        unnamed = pl.col("series_id").is_null() | (pl.col("series_id") == "")
        found.append(pl.when(unnamed).then(pl.lit(f"{feed.series_id} is empty")))
    if feed.available_at is not None:
        found.append(pl.when(pl.col("available_at").is_null()).then(pl.lit(f"{feed.available_at} is not a time")))
    for name in feed.values:
        value, raw = pl.col(f"value:{name}"), pl.col(f"raw:{name}")
        text = raw.str.strip_chars()
        unreadable = value.is_null() & raw.is_not_null() & ~text.is_in(["", "NaN"])
        found.append(pl.when(unreadable).then(pl.format(f"{name} is not a number: '{{}}'", text)))
        found.append(pl.when(value.is_infinite()).then(pl.lit(f"{name} is infinite")))
        if lower is not None:
            found.append(pl.when(value < lower).then(pl.format(f"{name} is {{}}, below the bound {lower}", value)))
        if upper is not None:
            found.append(pl.when(value > upper).then(pl.format(f"{name} is {{}}, above the bound {upper}", value)))
    return pl.coalesce(found)
