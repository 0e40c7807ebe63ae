"""Choice of the source that reads a feed."""

from __future__ import annotations

import importlib
import traceback
from datetime import datetime, timedelta

import polars as pl

from flows.settings.feed import Feed
from flows.settings.feed_options import TextOptions
from model.checks.wide_tables import SERIES, needed_columns, to_long_table
from storage.redaction import has_secret, redact_registered
from storage.schemas import ROW_PROBLEM, DataError, MissingColumn
from storage.sources.limits import run_within
from storage.sources.request import Request
from storage.sources.time_range import with_representable_times

# Each kind of source is a module, imported only when it is used, because it brings its own library.
_MODULES = {
    "file": "files", "s3": "objects", "sql": "sql", "http": "web",
    "open-meteo": "open_meteo", "entsoe": "entsoe", "eia": "eia", "ecb": "ecb",
}  # fmt: skip


# Sources that never receive a key in a request, so that no cell of theirs can repeat one.
_LONGEST_ID, _SHOWN = 10_000, 40  # bytes, characters
_KEYLESS = frozenset({"file", "s3"})
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
        read: pl.DataFrame = run_within(options["max_time"], request.redacted_uri, lambda: source.read(request))
        rows = with_representable_times(read)
    except DataError as error:
        text = error.of_key(_key_of(feed, error.column)) if isinstance(error, MissingColumn) else str(error)
        raise DataError(f"feed {feed.name!r}: {request.redact(text)}") from None
    except Exception as error:
        # The error of a library may contain the address with its secrets. Only one without any keeps its traceback.
        text = "".join(traceback.format_exception(error))
        if request.redact(text) == text:
            raise
        raise DataError(f"feed {feed.name!r}: {type(error).__name__}: {request.redact(str(error))}") from None
    rows = to_long_table(rows, wide, shape) if wide else rows
    if feed.series_id is None or feed.series_id not in rows.columns:
        return rows
    rows = _without_long_ids(rows, feed.series_id)
    return rows if feed.source in _KEYLESS else _without_secret_ids(rows, feed.series_id)


def _without_long_ids(rows: pl.DataFrame, id_column: str) -> pl.DataFrame:
    """Return the rows with a problem for each row whose series id is no id, but a text of thousands of characters.

    A small file can repeat a long text in each row. Each copy of the column would then need all of the memory.
    """
    ids = rows[id_column]
    if ids.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return rows
    # A cast of the whole column of a dictionary would copy its texts.
    distinct = ids if ids.dtype == pl.String else ids.unique()
    is_long = (distinct.cast(pl.String).str.len_bytes() > _LONGEST_ID).fill_null(False)
    if not is_long.any():
        return rows
    long_ids = distinct.filter(is_long).unique()
    problem = f"{id_column} is longer than {_LONGEST_ID:,} bytes, got {long_ids.cast(pl.String)[0][:_SHOWN]}..."
    has_long_id = ids.is_in(long_ids.implode()).fill_null(False)
    rows = _with_problem(rows, pl.when(has_long_id).then(pl.lit(problem)))
    return rows.with_columns(pl.when(has_long_id).then(None).otherwise(pl.col(id_column)).alias(id_column))


def _with_problem(rows: pl.DataFrame, problem: pl.Expr) -> pl.DataFrame:
    """Return the rows with a further problem of some of them. The first problem of a row stays."""
    before = pl.col(ROW_PROBLEM) if ROW_PROBLEM in rows.columns else pl.lit(None, pl.String)
    return rows.with_columns(pl.coalesce(before, problem).alias(ROW_PROBLEM))


def _without_secret_ids(rows: pl.DataFrame, id_column: str) -> pl.DataFrame:
    """Return the rows with a problem for each row whose series id repeats a secret, as a careless server does.

    An id is the only text of a row that enters the history.
    """
    ids = rows[id_column]
    secret = [text for text in ids.unique() if isinstance(text, str) and has_secret(text)]
    if not secret:
        return rows
    problem = pl.when(pl.col(id_column).is_in(secret)).then(pl.lit(f"{id_column} repeats a secret of the feed"))
    shown = {text: redact_registered(text) for text in secret}
    return _with_problem(rows, problem).with_columns(pl.col(id_column).replace(shown))


def _key_of(feed: Feed, column: str) -> str:
    """Return the key of a feed that names a column."""
    named = {feed.series_id: "series_id", feed.valid_time: "valid_time", feed.available_at: "available_at"}
    return named.get(column, "one of values" if len(feed.values) > 1 else "values")
