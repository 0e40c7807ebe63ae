"""Feeds from a query of PostgreSQL or SQLite, read through ADBC as Arrow tables.

`:since` and `:until` in the query are bound as parameters, never pasted into the text. In PostgreSQL they are instants
(timestamptz). The session's timezone is the feed's, so that they also compare with naive columns. SQLite has no type
for times, so they are texts such as `2018-09-01 00:00:00` in the feed's timezone.
"""

from __future__ import annotations

import importlib
import re
from datetime import datetime
from typing import Any

import polars as pl

from storage.schemas import DataError
from storage.schemas.offsets import offset_text, parse_offset, to_tzinfo
from storage.sources.request import Request

# Group `other` matches text in which a colon is no parameter: string literals, quoted names, comments, dollar quotes
# and casts. Group `name` matches a parameter.
_TOKENS = re.compile(
    r"""(?P<other>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|::)"""
    r"""|:(?P<name>since|until)\b""",
    re.DOTALL,
)


def read(request: Request) -> pl.DataFrame:
    """Return the requested columns of the query's result, with the database's types.

    Raises:
        DataError: The driver is not installed, the query fails, or a column is missing.
    """
    if request.query is None:
        raise DataError(f"{request.redacted_uri}: a database feed needs a query; set the key `query` of the feed")
    is_sqlite = request.uri.startswith("sqlite")
    # A text with an offset: the driver's own timestamp type would lose its zone beside a naive column.
    query, names = bind(request.query, "?{}" if is_sqlite else "${}::text::timestamptz")
    since, until = (
        _local_time(time, request) if is_sqlite else time.isoformat() for time in (request.since, request.until)
    )
    parameters = [{"since": since, "until": until}[name] for name in names]
    connect, errors = _load_driver(is_sqlite)
    try:
        with connect(_driver_address(request.uri, is_sqlite)) as connection, connection.cursor() as cursor:
            if not is_sqlite:
                cursor.execute("select set_config('TimeZone', $1, false)", [_session_zone(request.time_zone)])
                cursor.fetchall()
            cursor.execute(query, parameters or None)
            table = pl.from_arrow(cursor.fetch_arrow_table())
    except errors as error:
        problem = request.redact(str(error)).strip().splitlines()[0]
        raise DataError(f"{request.redacted_uri}: the query failed: {problem}") from None
    assert isinstance(table, pl.DataFrame)
    missing = [column for column in request.columns if column not in table.columns]
    if missing:
        present = ", ".join(map(repr, table.columns))
        raise DataError(f"{request.redacted_uri}: the query gives no column {missing[0]!r}; it gives {present}")
    return pl.DataFrame([_without_extension_type(table[column]) for column in request.columns])


def _without_extension_type(column: pl.Series) -> pl.Series:
    """Return PostgreSQL's numeric, which Arrow has no type for, as the text that the driver delivers."""
    return column.ext.storage() if isinstance(column.dtype, pl.BaseExtension) else column


def bind(query: str, placeholder: str) -> tuple[str, list[str]]:
    """Return a query with numbered placeholders in place of `:since` and `:until`, and the parameters' names.

    Args:
        query: Query with named parameters.
        placeholder: Form of a placeholder: '?{}' gives ?1 and ?2.
    """
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return match[0]
        if name not in names:
            names.append(name)
        return placeholder.format(names.index(name) + 1)

    return _TOKENS.sub(replace, query), names


def _local_time(time: datetime, request: Request) -> str:
    return time.astimezone(to_tzinfo(request.time_zone)).strftime("%Y-%m-%d %H:%M:%S")


def _session_zone(zone: str) -> str:
    """Return the name of a time zone for PostgreSQL. The offset of a POSIX name counts hours west of UTC."""
    offset = parse_offset(zone)
    return zone if offset is None else f"UTC{offset_text(-offset)}"


def _driver_address(uri: str, is_sqlite: bool) -> str:
    # Feeds write sqlite:////absolute or sqlite:///relative, as SQLAlchemy does. The driver expects a path.
    return re.sub(r"^sqlite:///", "", uri) if is_sqlite else uri


def _load_driver(is_sqlite: bool) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return the driver's `connect` and its errors. Only pipelines with a database import the driver."""
    name = "adbc_driver_sqlite" if is_sqlite else "adbc_driver_postgresql"
    try:
        error_type = importlib.import_module("adbc_driver_manager").Error
        connect = importlib.import_module(f"{name}.dbapi").connect
    except ModuleNotFoundError as error:
        raise DataError(f"a database feed needs {error.name}: pip install 'gatecast[sql]'") from None
    return connect, (error_type, OSError)
