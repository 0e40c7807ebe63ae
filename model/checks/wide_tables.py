"""Wide tables of a feed: one column per series, or one per period of a day, as rows of one value each.

The rows are those of a long table: columns `valid_time`, `series_id` and one value column, as the feed names them. The
rules of long tables then apply to them, also those of clock changes. An empty cell is no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.checks.feed_shape import FeedShape
from model.checks.time_texts import ISO, parse_times
from model.timegrid import day_starts
from storage.schemas import FILE, ROW_PROBLEM, DataError

SERIES, HOURS, PERIODS = "series", "hours", "periods"

_HOUR = timedelta(hours=1)
#: Length of a period by the number of columns of a day. Days of 23 and 25 hours have fewer or more periods.
_LENGTHS = {
    23: _HOUR, 24: _HOUR, 25: _HOUR, 46: _HOUR / 2, 48: _HOUR / 2, 50: _HOUR / 2, 92: _HOUR / 4, 96: _HOUR / 4,
    100: _HOUR / 4,
}  # fmt: skip
_BY_CLOCK = (24, 48, 96)
_DUPLICATE = "_duplicated_0"  # Polars' name of the second of two equal columns
_MIDNIGHT = r"[T ]0?0:00(:00(\.0+)?)?$"


@dataclass(frozen=True)
class WideLayout:
    """Columns of a wide table.

    Attributes:
        kind: "series": a column per series. "hours": a column per hour, half or quarter of an hour by the clock.
            "periods": the same, counted from the start of the day, so that a day of 25 hours has 25.
        columns: Columns to read, in the order of the day. Empty: all that the feed does not name.
        repeated_hour: Columns of an hour by the clock that repeats in autumn, behind those that they repeat.
    """

    kind: str
    columns: tuple[str, ...] = ()
    repeated_hour: tuple[str, ...] = ()


def needed_columns(layout: WideLayout, feed: FeedShape) -> list[str]:
    """Return the columns that the source must have. None at all means all columns."""
    if not layout.columns:
        return []
    named = [feed.valid_time, feed.available_at, None if layout.kind == SERIES else feed.series_id]
    return list(dict.fromkeys([*(name for name in named if name is not None), *layout.columns]))


def to_long_table(table: pl.DataFrame, layout: WideLayout, feed: FeedShape) -> pl.DataFrame:
    """Return the cells of a wide table as rows with the columns of the feed.

    Raises:
        DataError: A column is missing or there twice, or the number of columns is not that of a day.
    """
    keys = [feed.valid_time] + ([feed.available_at] if feed.available_at else [])
    if layout.kind != SERIES and feed.series_id is not None:
        keys.append(feed.series_id)
    columns = _value_columns(table, layout, feed, keys)
    hidden = [name for name in (FILE, ROW_PROBLEM) if name in table.columns]
    table = table.select(*keys, *hidden, *columns)
    if layout.kind == SERIES:
        assert feed.series_id is not None
        long = table.unpivot(columns, index=[*keys, *hidden], variable_name=feed.series_id, value_name=feed.values[0])
    else:
        long = _days_to_rows(table, columns, layout, feed)
    hidden = [name for name in (FILE, ROW_PROBLEM) if name in long.columns]
    return long.filter(_is_filled(long[feed.values[0]])).select([*feed.columns, *hidden])


def _value_columns(table: pl.DataFrame, layout: WideLayout, feed: FeedShape, keys: list[str]) -> list[str]:
    """Return the columns of values, in the order of the table or that of the pipeline file."""
    for name in (*keys, *layout.columns, *layout.repeated_hour):
        if name not in table.columns:
            shown = ", ".join(map(repr, table.columns))
            raise DataError(f"feed {feed.name!r}: there is no column {name!r}; the table has {shown}")
    twice = [name for name in table.columns if f"{name}{_DUPLICATE}" in table.columns]
    if twice:
        raise DataError(f"feed {feed.name!r}: there are several columns {twice[0]!r}; rename all but one")
    others = [name for name in table.columns if name not in (*keys, FILE, ROW_PROBLEM)]
    # A separator at the end of each line makes an empty column without a name.
    others = [name for name in others if name.strip() or bool(_is_filled(table[name]).any())]
    columns = list(layout.columns) or others
    if not columns:
        raise DataError(
            f'feed {feed.name!r}: wide = "{layout.kind}" found no columns beside {", ".join(map(repr, keys))}'
        )
    return columns


def _days_to_rows(table: pl.DataFrame, columns: list[str], layout: WideLayout, feed: FeedShape) -> pl.DataFrame:
    """Return the rows of a table with one column per period of a day, in the order of time."""
    # A repeated hour has the wall-clock time of the column before it.
    by_clock = [name for name in columns if name not in layout.repeated_hour]
    allowed = _BY_CLOCK if layout.kind == HOURS else tuple(_LENGTHS)
    if len(by_clock) not in allowed:
        raise DataError(
            f'feed {feed.name!r}: wide = "{layout.kind}" needs {", ".join(map(str, allowed))} columns of values, the '
            f"table has {len(by_clock)}: {', '.join(map(repr, by_clock[:30]))}. Name those of the day's periods in "
            "options.columns, in their order."
        )
    length = _LENGTHS[len(by_clock)]
    number = np.cumsum([name not in layout.repeated_hour for name in columns]) - 1
    if layout.repeated_hour:
        number = _numbers_of_repeated(columns, layout, number, length)
    dtype = _common_type(table, columns)
    cells = pl.concat_list(pl.col(name).cast(dtype) for name in columns)
    long = table.select(pl.exclude(columns), cells.alias(feed.values[0])).explode(feed.values[0])
    long = long.with_columns(pl.Series(":number", np.tile(number, len(table)), dtype=pl.Int64))
    if layout.kind == PERIODS:
        return _with_instants(long, length, feed)
    offset = pl.duration(microseconds=pl.col(":number") * (length // timedelta(microseconds=1)))
    return long.with_columns(_wall_clock(long, offset, feed).alias(feed.valid_time))


def _numbers_of_repeated(columns: list[str], layout: WideLayout, number: np.ndarray, length: timedelta) -> np.ndarray:
    """Return the number by the clock of each column. The columns of a repeated hour have those of the hour before."""
    number = number.copy()
    per_hour = _HOUR // length
    for place, name in enumerate(columns):
        if name in layout.repeated_hour:
            number[place] += layout.repeated_hour.index(name) % per_hour + 1 - per_hour
    return number


def _wall_clock(long: pl.DataFrame, offset: pl.Expr, feed: FeedShape) -> pl.Expr:
    """Return the time of each row by the clock: text behind a text of the date, so that messages show the cell."""
    dtype = long.schema[feed.valid_time]
    if dtype == pl.String:
        day = pl.col(feed.valid_time).str.strip_chars().str.replace(_MIDNIGHT, "")
        return pl.concat_str(day, (pl.datetime(1970, 1, 1) + offset).dt.strftime(" %H:%M"))
    if dtype == pl.Date:
        return pl.col(feed.valid_time).cast(pl.Datetime("us")) + offset
    if isinstance(dtype, pl.Datetime):
        times = pl.col(feed.valid_time)
        if dtype.time_zone:
            times = times.dt.convert_time_zone(feed.time_zone).dt.replace_time_zone(None)
        return times.dt.truncate("1d") + offset
    raise DataError(f"feed {feed.name!r}: column {feed.valid_time!r} has type {dtype}; days need dates or text")


def clock_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    """Return the formats of texts to which `_wall_clock` added a time of day."""
    return tuple(form if form == ISO else f"{form} %H:%M" for form in formats)


def _with_instants(long: pl.DataFrame, length: timedelta, feed: FeedShape) -> pl.DataFrame:
    """Return the rows with the instants of periods that are counted from the start of their day."""
    cells = long[feed.valid_time]
    if cells.dtype == pl.String:
        parsed, _ = parse_times(cells, feed.text.time_formats)
        dates = pl.Series([None] * len(cells), dtype=pl.Date) if parsed.local is None else parsed.local.dt.date()
    elif cells.dtype == pl.Date or isinstance(cells.dtype, pl.Datetime):
        dates = cells.cast(pl.Date)
    else:
        raise DataError(
            f"feed {feed.name!r}: column {feed.valid_time!r} has type {cells.dtype}; days need dates or text"
        )
    days: NDArray[np.datetime64] = dates.fill_null(date(1970, 1, 1)).to_numpy().astype("datetime64[D]")
    unique, places = np.unique(days, return_inverse=True)
    starts = day_starts(unique, feed.time_zone)
    next_days = (unique.astype(np.int64) + 1).astype("datetime64[D]")
    ends = day_starts(next_days, feed.time_zone)
    instants = starts[places] + long[":number"].to_numpy() * (length // timedelta(microseconds=1))
    is_beyond = pl.Series(instants >= ends[places])
    no_date = pl.concat_str(pl.lit(f"{feed.valid_time} is not a date: "), pl.lit(cells.cast(pl.String).fill_null("")))
    problem: pl.Expr = (
        pl.when(pl.lit(dates.is_null()))
        .then(no_date)
        .when(pl.lit(is_beyond))
        .then(pl.lit("the day has fewer periods than columns with a value"))
    )
    times = pl.Series(instants).cast(pl.Datetime("us", "UTC")).set(dates.is_null(), None)
    if ROW_PROBLEM in long.columns:
        problem = pl.coalesce(pl.col(ROW_PROBLEM), problem)
    elif not (dates.null_count() or bool((is_beyond & _is_filled(long[feed.values[0]])).any())):
        return long.with_columns(times.alias(feed.valid_time))
    return long.with_columns(times.alias(feed.valid_time), problem.alias(ROW_PROBLEM))


def _common_type(table: pl.DataFrame, columns: list[str]) -> pl.DataType:
    types = {table.schema[name] for name in columns} - {pl.Null()}
    if len(types) == 1:
        return types.pop()
    return pl.Float64() if all(dtype.is_numeric() for dtype in types) else pl.String()


def _is_filled(cells: pl.Series) -> pl.Series:
    return cells.str.strip_chars() != "" if cells.dtype == pl.String else cells.is_not_null()
