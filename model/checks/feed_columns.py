"""Columns of a feed's table in the types of the history: series, availability and values."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import polars as pl

from model.checks.feed_shape import FeedShape
from model.checks.feed_times import available_times
from model.checks.number_texts import parse_numbers, unreadable_numbers, value_texts
from model.checks.reasons import NUMBER_ADVICE
from model.checks.row_places import row_place
from model.checks.wall_clock import LatestInstants
from model.timegrid import TimeGrid
from storage.schemas import FILE, INSTANT, DataError, to_series_ids

_MOST_TEXT = 0.5  # If a larger share of a value column is text, the column is wrong and not its rows.


class HistoryColumns(NamedTuple):
    """Columns of a feed in the types of the history.

    Attributes:
        table: Columns series_id, valid_time, available_at and values. A cell that cannot be read is null.
        unclear: Rows whose time of availability a clock change repeats or skips.
    """

    table: pl.DataFrame
    unclear: pl.Series


def history_columns(rows: pl.DataFrame, time: pl.Series, feed: FeedShape, grid: TimeGrid) -> HistoryColumns:
    """Return the columns of the history.

    Args:
        rows: The table as it was read.
        time: Valid time of each row (UTC), null if it cannot be read.
        feed: Layout of the table.
        grid: Grid of the pipeline.

    Raises:
        DataError: A whole column has the wrong type.
    """
    available, unclear = _available(rows, time, feed, grid)
    columns = {"series_id": _series(rows, feed), "valid_time": time, "available_at": available}
    return HistoryColumns(pl.DataFrame(columns | {name: _numbers(rows, feed, name) for name in feed.values}), unclear)


def _series(rows: pl.DataFrame, feed: FeedShape) -> pl.Series:
    """Return the id of each row, null for a covariate that all series share."""
    if feed.series_id is None:
        return pl.repeat(feed.name if feed.role == "target" else None, len(rows), dtype=pl.String, eager=True)
    try:
        return to_series_ids(rows[feed.series_id])
    except DataError as error:
        raise DataError(f"feed {feed.name!r}: {error}") from None


def _numbers(rows: pl.DataFrame, feed: FeedShape, name: str) -> pl.Series:
    """Return a value column as numbers, null where a cell is missing, NaN or unreadable."""
    column = rows[name]
    dtype = column.dtype
    if dtype == pl.String:
        text = value_texts(column, feed.text)
        numbers = parse_numbers(text, feed.text)
        unreadable = unreadable_numbers(text, numbers)
        if int(unreadable.sum() or 0) > _MOST_TEXT * int((text != "").sum() or 0):
            row = int(unreadable.arg_true()[0])
            place = row_place(row, rows.get_column(FILE, default=None))
            raise DataError(
                f"feed {feed.name!r}: column {name!r} holds text; values need numbers (first: {text[row]!r} in "
                f"{place}). Name a numeric column in values. {NUMBER_ADVICE}"
            )
        return numbers
    if not (dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null):
        raise DataError(f"feed {feed.name!r}: column {name!r} has type {dtype}; values need numbers")
    numbers = column.cast(pl.Float64)
    return numbers.fill_nan(None) if numbers.is_nan().any() else numbers


def _available(rows: pl.DataFrame, time: pl.Series, feed: FeedShape, grid: TimeGrid) -> LatestInstants:
    """Return when each row became known (UTC), null for known_future rows without a column for it."""
    if feed.available_at is not None:
        return available_times(rows, feed)
    if feed.role == "known_future":
        return LatestInstants(pl.repeat(None, len(rows), dtype=INSTANT, eager=True))
    if grid.step and not feed.resample:
        return LatestInstants(time + (timedelta(microseconds=grid.step) + feed.available_after))
    steps = grid.index(time.dt.epoch("us").fill_null(0).to_numpy())
    end = pl.Series(grid.end(steps)).cast(INSTANT).zip_with(time.is_not_null(), pl.Series([None], dtype=INSTANT))
    return LatestInstants(end + feed.available_after)
