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

from model.checks.day_columns import ColumnOrderError, column_positions, position_of_repeated
from model.checks.feed_shape import FeedShape
from model.checks.reasons import NOT_A_DATE, with_cell
from model.checks.time_texts import ISO, parse_times
from model.checks.wall_clock import is_repeated
from model.timegrid import day_starts
from storage.schemas import FILE, ROW_PROBLEM, DataError
from storage.schemas.suggestions import shown_names

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
        repeated_hour: Columns of an hour by the clock that repeats in autumn: with the number of the column that they
            repeat in their name, or behind it.
        time_formats: Formats of the dates of a table of periods.
    """

    kind: str
    columns: tuple[str, ...] = ()
    repeated_hour: tuple[str, ...] = ()
    time_formats: tuple[str, ...] = ()


def needed_columns(layout: WideLayout, feed: FeedShape) -> list[str]:
    """Return the columns that the source must have. None at all means all columns."""
    if not layout.columns:
        return []
    named = [feed.valid_time, feed.available_at, None if layout.kind == SERIES else feed.series_id]
    return list(dict.fromkeys([*(name for name in named if name is not None), *layout.columns, *layout.repeated_hour]))


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
            shown = shown_names(table.columns)
            raise DataError(f"feed {feed.name!r}: there is no column {name!r}; the table has {shown}")
    twice = [name for name in table.columns if f"{name}{_DUPLICATE}" in table.columns]
    if twice:
        raise DataError(f"feed {feed.name!r}: there are several columns {twice[0]!r}; rename all but one")
    others = [name for name in table.columns if name not in (*keys, FILE, ROW_PROBLEM)]
    # A separator at the end of each line makes an empty column without a name.
    others = [name for name in others if name.strip() or bool(_is_filled(table[name]).any())]
    columns = list(layout.columns) or others
    if layout.columns:
        columns += [name for name in layout.repeated_hour if name not in columns]
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
    columns, number = _in_order_of_day(columns, by_clock, layout, length, feed)
    dtype = _common_type(table, columns)
    cells = pl.concat_list(pl.col(name).cast(dtype) for name in columns)
    long = table.select(pl.exclude(columns), cells.alias(feed.values[0])).explode(feed.values[0])
    long = long.with_columns(pl.Series(":number", np.tile(number, len(table)), dtype=pl.Int64))
    if layout.kind == PERIODS:
        return _with_instants(long, length, layout, feed)
    offset = pl.duration(microseconds=pl.col(":number") * (length // timedelta(microseconds=1)))
    long = long.with_columns(_wall_clock(long, offset, feed).alias(feed.valid_time))
    if not layout.repeated_hour:
        return long
    is_second = np.tile([name in layout.repeated_hour for name in columns], len(table))
    return _refuse_unrepeated(long, pl.Series(is_second), feed)


def _in_order_of_day(
    columns: list[str], by_clock: list[str], layout: WideLayout, length: timedelta, feed: FeedShape
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the columns in the order of the day, and the number by the clock of each.

    The columns of a repeated hour have the numbers of those that they repeat, and stand behind all of that hour.
    """
    try:
        positions = column_positions(by_clock, is_declared=bool(layout.columns))
    except ColumnOrderError as error:
        shown = ", ".join(map(repr, by_clock[:30]))
        raise DataError(
            f'feed {feed.name!r}: wide = "{layout.kind}" cannot order the columns {shown}: {error}. Name the columns '
            "of the day's periods in options.columns in the order of the day, and that of a repeated hour in "
            "options.repeated_hour; or rename them in the source."
        ) from None
    number_of, per_hour = dict(zip(by_clock, positions, strict=True)), _HOUR // length
    place = {name: (number, 0) for name, number in number_of.items()}
    for name in layout.repeated_hour:
        number = position_of_repeated(name, by_clock, positions)
        if number is None:
            number = _number_by_place(name, columns, layout, number_of, per_hour, feed)
        number_of[name], place[name] = number, (number // per_hour * per_hour + per_hour - 1, 1 + number)
    ordered = sorted(columns, key=lambda name: place[name])
    return ordered, np.array([number_of[name] for name in ordered])


def _number_by_place(
    name: str, columns: list[str], layout: WideLayout, number_of: dict[str, int], per_hour: int, feed: FeedShape
) -> int:
    """Return the number by the clock of a repeated column whose name does not show it: that of the hour before it."""
    before = [other for other in columns[: columns.index(name)] if other not in layout.repeated_hour]
    if not before or len(before) == len(columns) - len(layout.repeated_hour):
        raise DataError(
            f"feed {feed.name!r}: options.repeated_hour {name!r} does not show which hour it repeats. List all columns "
            "in options.columns, with it behind the hour that it repeats."
        )
    return number_of[before[-1]] + layout.repeated_hour.index(name) % per_hour + 1 - per_hour


def _refuse_unrepeated(long: pl.DataFrame, is_second: pl.Series, feed: FeedShape) -> pl.DataFrame:
    """Return the rows with a problem where the column of a repeated hour has a value on a day without such an hour.

    A value there, such as 0 on all other days, would replace that of the ordinary column.
    """
    rows = (is_second & _is_filled(long[feed.values[0]])).fill_null(False).arg_true()
    cells = long[feed.valid_time].gather(rows)
    if cells.dtype == pl.String:
        local = parse_times(cells, feed.text.time_formats)[0].local
        local = pl.repeat(None, len(cells), dtype=pl.Datetime("us"), eager=True) if local is None else local
    else:
        local = cells.cast(pl.Datetime("us"))
    is_wrong = (local.is_not_null() & ~is_repeated(local, feed.time_zone)).fill_null(False)
    if not is_wrong.any():
        return long
    text = f"the column of the repeated hour has a value on a day on which the hour does not repeat in {feed.time_zone}"
    problem = pl.repeat(None, len(long), dtype=pl.String, eager=True).scatter(rows.filter(is_wrong), text)
    if ROW_PROBLEM in long.columns:
        problem = long[ROW_PROBLEM].zip_with(long[ROW_PROBLEM].is_not_null(), problem)
    is_last = pl.repeat(False, len(long), dtype=pl.Boolean, eager=True).scatter(rows.filter(is_wrong), True)
    # Between the others, two rows of one time would hide the order of the rows, which decides a repeated hour.
    long = long.with_columns(problem.alias(ROW_PROBLEM))
    return pl.concat([long.filter(~is_last), long.filter(is_last)])


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


def _with_instants(long: pl.DataFrame, length: timedelta, layout: WideLayout, feed: FeedShape) -> pl.DataFrame:
    """Return the rows with the instants of periods that are counted from the start of their day."""
    cells = long[feed.valid_time]
    if cells.dtype == pl.String:
        parsed, _ = parse_times(cells, layout.time_formats)
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
    no_date = with_cell(f"{feed.valid_time} {NOT_A_DATE}", cells)
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
