"""Choice of the source that reads a feed."""

from __future__ import annotations

import importlib
import traceback
from datetime import datetime, timedelta

import polars as pl

from flows.settings.feed import Feed
from flows.settings.feed_options import TextOptions
from model.checks.wide_tables import SERIES, needed_columns, to_long_table
from storage.schemas import DataError, MissingColumn
from storage.sources.request import Request

# Each kind of source is a module, imported only when it is used, because it brings its own library.
_MODULES = {
    "file": "files", "s3": "objects", "sql": "sql", "http": "web",
    "open-meteo": "open_meteo", "entsoe": "entsoe", "eia": "eia", "ecb": "ecb",
}  # fmt: skip


#: Kinds whose tables may have columns that a feed does not name.
FREE_KINDS = frozenset({"file", "s3", "sql", "http"})


def read_feed(
    feed: Feed, since: datetime, until: datetime, requested_at: datetime, all_columns: bool = False
) -> pl.DataFrame:
    """Return the columns of a feed as they are in its source.

    Args:
        feed: The feed.
        since: First valid time to request. A source that cannot select by time, such as a file, returns all rows.
        until: Last valid time to request.
        requested_at: When values become available that the source does not date itself.
        all_columns: Whether to return every column of the source. For `FREE_KINDS` only. A wide table has no others.

    Raises:
        DataError: The source cannot be read. The message names the feed and hides its secrets.
    """
    options = feed.options.model_dump(exclude={"kind", "api_key"})
    options |= {name: value.total_seconds() for name, value in options.items() if isinstance(value, timedelta)}
    key = getattr(feed.options, "api_key", None)
    source = importlib.import_module(f"storage.sources.{_MODULES[feed.source]}")
    uri = feed.uri if feed.uri is not None else source.default_address(options, key is not None)
    shape = feed.shape()
    wide = feed.options.wide_layout() if isinstance(feed.options, TextOptions) else None
    columns = tuple(needed_columns(wide, shape)) if wide else () if all_columns else tuple(shape.columns)
    id_column = None if wide and wide.kind == SERIES else feed.series_id
    request = Request(
        uri, columns, feed.query, since, until, feed.zone, options, requested_at,
        key.get_secret_value() if key is not None else None, feed.secrets, id_column, feed.valid_time,
    )  # fmt: skip
    try:
        rows: pl.DataFrame = source.read(request)
    except DataError as error:
        text = error.of_key(_key_of(feed, error.column)) if isinstance(error, MissingColumn) else str(error)
        raise DataError(f"feed {feed.name!r}: {request.redact(text)}") from None
    except Exception as error:
        # The error of a library may contain the address with its secrets. Only one without any keeps its traceback.
        text = "".join(traceback.format_exception(error))
        if request.redact(text) == text:
            raise
        raise DataError(f"feed {feed.name!r}: {type(error).__name__}: {request.redact(str(error))}") from None
    return to_long_table(rows, wide, shape) if wide else rows


def _key_of(feed: Feed, column: str) -> str:
    """Return the key of a feed that names a column."""
    named = {feed.series_id: "series_id", feed.valid_time: "valid_time", feed.available_at: "available_at"}
    return named.get(column, "one of values" if len(feed.values) > 1 else "values")
