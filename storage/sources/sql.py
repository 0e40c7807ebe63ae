"""Feeds from a query of PostgreSQL or SQLite, read through ADBC as Arrow tables.

`:since` and `:until` in the query are bound as parameters, never pasted into the text. In PostgreSQL they are instants
(timestamptz). The session's timezone is the feed's, so that they also compare with naive columns. SQLite has no type
for times, so they are bound in the form of the column of valid times.
"""

from __future__ import annotations

import importlib
import math
import re
from functools import partial
from typing import Any

import polars as pl

from storage.errors import first_line
from storage.schemas import DataError
from storage.schemas.offsets import offset_text, parse_offset
from storage.sources import sqlite
from storage.sources.request import Request
from storage.sources.sql_result import check_columns, fetch_table
from storage.sources.sql_text import bind

_TYPE_KEY = b"POSTGRESQL:type"  # of the driver, in the metadata of a column
_NO_OPERATOR = "operator does not exist"
_SEVERITY = re.compile(r"^.*?\b(?:ERROR|FATAL):\s+")  # what PostgreSQL's driver writes before the server's message
_DRIVER = re.compile(r"^(?:[A-Z_]+: )?(?:\[\w+\] )?(?:Failed to (?:prepare|execute|step) query: )?")


def read(request: Request) -> pl.DataFrame:
    """Return the requested columns of the query's result, with the database's types. Ids are text.

    Raises:
        DataError: The driver is not installed, the query fails, or a column is missing.
    """
    if request.query is None:
        raise DataError(f"{request.redacted_uri}: a database feed needs a query; set the key `query` of the feed")
    is_sqlite = request.uri.startswith("sqlite")
    connect, errors = _load_driver(is_sqlite)
    address = _driver_address(request.uri, is_sqlite)
    if is_sqlite:
        sqlite.check_path(address, request)
    try:
        connection = connect(address)
    except errors as error:
        raise DataError(
            f"{request.redacted_uri}: the connection failed: {_problem(error, request)}; check the uri of the feed"
        ) from None
    try:
        with connection, connection.cursor() as cursor:
            read_table = sqlite.read if is_sqlite else _read_postgresql
            return read_table(cursor, request.query, request)
    except errors as error:
        problem = _problem(error, request)
        raise DataError(f"{request.redacted_uri}: the query failed: {problem}; {_remedy(problem)}") from None


def _read_postgresql(cursor: Any, query: str, request: Request) -> pl.DataFrame:
    # A text with an offset: the driver's own timestamp type would lose its zone beside a naive column.
    query, names = bind(query, "${}::text::timestamptz")
    bounds = {"since": request.since.isoformat(), "until": request.until.isoformat()}
    settings = {"TimeZone": _session_zone(request.time_zone)}
    if "max_time" in request.options:
        # The server ends the query too. Else it would go on, with its locks, after the reader has given up.
        settings["statement_timeout"] = str(math.ceil(1000 * request.options["max_time"]))
    for name, value in settings.items():
        cursor.execute("select set_config($1, $2, false)", [name, value])
        cursor.fetchall()
    cursor.execute(query, [bounds[name] for name in names] or None)
    table = fetch_table(cursor, request.limits, partial(_check_types, request))
    columns = request.columns or table.columns
    check_columns(columns, table.columns, request)
    return pl.DataFrame([_to_polars(table[column], column == request.series_id) for column in columns])


def _check_types(request: Request, schema: Any) -> None:
    """Raise DataError if a requested column has PostgreSQL's type money, which the driver gives in hundredths.

    How many decimals it has depends on a setting of the server.
    """
    for field in schema:
        kind = (field.metadata or {}).get(_TYPE_KEY, b"").decode()
        if kind == "money" and (not request.columns or field.name in request.columns):
            raise DataError(
                f"{request.redacted_uri}: column {field.name!r} of the query has the type money; convert it in the "
                f"query: {field.name}::numeric"
            )


def _to_polars(column: pl.Series, is_id: bool) -> pl.Series:
    """Return a column of PostgreSQL, with its numeric, which Arrow has no type for, as the driver's text.

    Ids of type numeric have no zeros after the point, and those of type uuid are text.
    """
    if isinstance(column.dtype, pl.BaseExtension):
        text = column.ext.storage()
        return text.str.replace(r"\.0+$", "") if is_id and text.dtype == pl.String else text
    if is_id and column.dtype == pl.Binary and bool((column.bin.size() == 16).all()):
        digits = column.bin.encode("hex")
        return digits.str.replace(r"^(.{8})(.{4})(.{4})(.{4})", "$1-$2-$3-$4-")
    return column


def _session_zone(zone: str) -> str:
    """Return the name of a time zone for PostgreSQL. The offset of a POSIX name counts hours west of UTC."""
    offset = parse_offset(zone)
    return zone if offset is None else f"UTC{offset_text(-offset)}"


def _problem(error: Exception, request: Request) -> str:
    """Return the database's message without the driver's additions and without secrets."""
    return _DRIVER.sub("", _SEVERITY.sub("", first_line(error, request.redact))).rstrip(" .;")


def _remedy(problem: str) -> str:
    if _NO_OPERATOR in problem and "timestamp with time zone" in problem:
        return (
            ":since and :until are instants, so convert the column in the query, such as at::timestamptz of a text or "
            "to_timestamp(at) of seconds since 1970"
        )
    if "parameter" in problem:
        return "a query may have the parameters :since and :until and no others"
    return sqlite.REMEDIES.get(problem, "correct the query of the feed")


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
    # The driver returns Arrow tables, and pyarrow refuses some of their types.
    arrow_error = importlib.import_module("pyarrow").ArrowException
    return connect, (error_type, arrow_error, OSError)
