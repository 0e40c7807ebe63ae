"""Feeds that are a query of PostgreSQL or SQLite, read through ADBC as Arrow tables.

`:since` and `:until` in the query are bound as parameters, never pasted. In PostgreSQL they are instants
(timestamptz), and the session is in the feed's zone, so that they compare with naive columns too. SQLite has no type
for times: they are texts `2018-09-01 00:00:00` in the feed's zone.
"""

from __future__ import annotations

import importlib
import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from storage.schemas import DataError
from storage.sources.request import Request

# What is not the query's own: string literals, quoted names, comments, dollar quotes, casts; then a parameter.
_TOKENS = re.compile(
    r"""(?P<other>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|::)"""
    r"""|:(?P<name>since|until)\b""",
    re.DOTALL,
)


def read(request: Request) -> pl.DataFrame:
    """The named columns of the query's result, typed as the database types them.

    Raises DataError when the driver is not installed, the database or the query fails, or a column is missing.
    """
    if request.query is None:
        raise DataError(f"{request.shown}: a database feed needs a query")
    sqlite = request.uri.startswith("sqlite")
    # As a text with its offset: beside a naive column the driver's own timestamp would lose its zone.
    query, names = bind(request.query, "?{}" if sqlite else "${}::text::timestamptz")
    since, until = (_text(t, request) if sqlite else t.isoformat() for t in (request.since, request.until))
    parameters = [{"since": since, "until": until}[name] for name in names]
    connect, failures = _driver(sqlite)
    try:
        with connect(_address(request.uri, sqlite)) as connection, connection.cursor() as cursor:
            if not sqlite:
                cursor.execute("select set_config('TimeZone', $1, false)", [request.time_zone])
                cursor.fetchall()
            cursor.execute(query, parameters or None)
            table = pl.from_arrow(cursor.fetch_arrow_table())
    except failures as error:
        what = request.redact(str(error)).strip().splitlines()[0]
        raise DataError(f"{request.shown}: the query failed: {what}") from None
    assert isinstance(table, pl.DataFrame)
    missing = [column for column in request.columns if column not in table.columns]
    if missing:
        found = ", ".join(map(repr, table.columns))
        raise DataError(f"{request.shown}: the query gives no column {missing[0]!r}; it gives {found}")
    return pl.DataFrame([_plain(table[column]) for column in request.columns])


def _plain(column: pl.Series) -> pl.Series:
    """PostgreSQL's numeric comes as a text that Arrow has no type for; as a text the checks read it like any other."""
    return column.ext.storage() if isinstance(column.dtype, pl.BaseExtension) else column


def bind(query: str, sign: str) -> tuple[str, list[str]]:
    """The query with numbered placeholders, `?1` of `?{}`, for `:since` and `:until`; and their names."""
    names: list[str] = []

    def place(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return match[0]
        if name not in names:
            names.append(name)
        return sign.format(names.index(name) + 1)

    return _TOKENS.sub(place, query), names


def _text(time: datetime, request: Request) -> str:
    return time.astimezone(ZoneInfo(request.time_zone)).strftime("%Y-%m-%d %H:%M:%S")


def _address(uri: str, sqlite: bool) -> str:
    # sqlite:////absolute or sqlite:///relative, as SQLAlchemy writes them; the driver takes a path.
    return re.sub(r"^sqlite:///", "", uri) if sqlite else uri


def _driver(sqlite: bool) -> tuple[Any, tuple[type[Exception], ...]]:
    """The driver's `connect`, and what it raises. Imported late: most pipelines read no database."""
    name = "adbc_driver_sqlite" if sqlite else "adbc_driver_postgresql"
    try:
        errors = importlib.import_module("adbc_driver_manager").Error
        connect = importlib.import_module(f"{name}.dbapi").connect
    except ModuleNotFoundError as error:
        raise DataError(f"a database feed needs {error.name}: pip install 'gatecast[sql]'") from None
    return connect, (errors, OSError)
