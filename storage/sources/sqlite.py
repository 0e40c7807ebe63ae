"""Queries of SQLite, whose columns may hold numbers, texts and nulls in any mixture.

The ADBC driver derives the type of a column from its first batch, and fails at a later cell of another type. In a
column that also holds texts it rounds numbers to seven digits. So a whole result is read as one batch. The query
converts ids to text. A column of numbers and texts is read a second time, converted by the query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from storage.schemas import DataError
from storage.schemas.offsets import to_tzinfo
from storage.sources.limits import Limits
from storage.sources.request import Request
from storage.sources.sql_result import check_columns, fetch_table
from storage.sources.sql_text import bind, parameter_names, without_end
from storage.sources.sqlite_times import EVERYTHING, Bound, bounds

#: What to do about an error that does not come from the query.
REMEDIES = {
    "database is locked": "another process holds it; end that process, or read a copy",
    "database disk image is malformed": "the file is damaged; copy it again from its source",
    "file is not a database": "the file is damaged or no SQLite database; check the uri of the feed",
}
_LOCK_WAIT = 30_000  # milliseconds. A writer holds the database for a moment.
_BATCH_ROWS = "adbc.sqlite.query.batch_rows"
_LARGEST_BATCH = "50000000"  # A batch of more rows could exceed the 2 GB of an Arrow column of texts.
_FUNCTION = re.compile(r"\b(date|datetime|time|julianday|unixepoch|strftime|substr|substring|replace)\s*\(", re.I)
_PARAMETERS = ("since", "until")
_EXACT = 2**53
_SMALLEST_CELL = 4  # bytes in Arrow: the offset of an empty text
_CELL_BYTES = (
    f"case typeof({{0}}) when 'null' then {_SMALLEST_CELL} when 'text' then {_SMALLEST_CELL} + "
    f"length(cast({{0}} as blob)) when 'blob' then {_SMALLEST_CELL} + length({{0}}) else 8 end"
)
_DIGITS = "printf('%!.17g', {0})"  # A cast to text would round to 15 digits.
_AS_TEXT = f"case typeof({{0}}) when 'real' then {_DIGITS} else cast({{0}} as text) end"
_AS_ID = (
    f"case when typeof({{0}}) <> 'real' then cast({{0}} as text) when abs({{0}}) < {_EXACT} and {{0}} = "
    f"cast({{0}} as integer) then cast(cast({{0}} as integer) as text) else {_DIGITS} end"
)


def check_path(path: str, request: Request) -> None:
    """Raise DataError if the database does not exist, because the driver would create an empty one."""
    file = path.removeprefix("file:").partition("?")[0] if path.startswith("file:") else path
    if not file.startswith(":") and not Path(file).is_file():
        raise DataError(f"{request.redacted_uri}: there is no such file; check the uri of the feed")


def read(cursor: Any, query: str, request: Request) -> pl.DataFrame:
    """Return the requested columns of the query's result, all columns if the request names none.

    Raises:
        DataError: A column is missing, or the times do not sort by time.
    """
    query = without_end(query)
    _run(cursor, f"pragma busy_timeout = {_LOCK_WAIT}", {})
    cursor.adbc_prepare(bind(query, "?{}")[0])  # An error names the query's own text, and not the one around it.
    present = _run(
        cursor, f"select * from ({query}\n) limit 0", dict(zip(_PARAMETERS, EVERYTHING, strict=True))
    ).columns
    columns = list(request.columns) or present
    check_columns(columns, present, request)
    parameters = _parameters(cursor, query, request)
    forms = {name: _AS_ID if name == request.series_id else "{0}" for name in columns}
    limits = request.limits
    limits.require_bytes(_size(cursor, columns, query, parameters, limits.left))
    table = _run(cursor, _select(forms, query), parameters, limits)
    mixed = [name for name in columns if forms[name] == "{0}" and _has_rounded_numbers(table[name])]
    return _run(cursor, _select(forms | dict.fromkeys(mixed, _AS_TEXT), query), parameters) if mixed else table


def _parameters(cursor: Any, query: str, request: Request) -> dict[str, Bound]:
    """Return the bounds of the query in the form of the column of valid times.

    A query that converts times by itself gets the documented form.
    """
    zone = to_tzinfo(request.time_zone)
    cells: list[object] = []
    if request.valid_time is not None and parameter_names(query) and not _FUNCTION.search(query):
        column = _quote(request.valid_time)
        ends = f"select min({column}) as a, max({column}) as b from ({query}\n)"
        everything = _run(cursor, ends, dict(zip(_PARAMETERS, EVERYTHING, strict=True)))
        cells = [cell for cell in (everything["a"].item(), everything["b"].item()) if cell is not None]
    try:
        since, until = bounds(cells, request.since, request.until, zone)
    except DataError as error:
        raise DataError(f"{request.redacted_uri}: column {request.valid_time!r}: {error}") from None
    return {"since": since, "until": until}


def _size(cursor: Any, columns: Sequence[str], query: str, parameters: Mapping[str, Bound], most: int) -> int:
    """Return the bytes of a result in Arrow, or a number above `most`, without holding the result in memory.

    The whole result is one batch, which the driver gives only once it is complete.
    """
    size = " + ".join(_CELL_BYTES.format(_quote(name)) for name in columns)
    rows = most // (_SMALLEST_CELL * len(columns)) + 1
    summed = _run(
        cursor, f"select total(size) as size from (select {size} as size from ({query}\n) limit {rows})", parameters
    )
    return int(summed["size"].item())


def _select(forms: Mapping[str, str], query: str) -> str:
    columns = ", ".join(f"{form.format(_quote(name))} as {_quote(name)}" for name, form in forms.items())
    return f"select {columns} from ({query}\n)"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _run(cursor: Any, query: str, parameters: Mapping[str, Bound], limits: Limits | None = None) -> pl.DataFrame:
    text, names = bind(query, "?{}")
    cursor.adbc_statement.set_options(**{_BATCH_ROWS: _LARGEST_BATCH})
    cursor.execute(text, [parameters[name] for name in names] or None)
    return fetch_table(cursor, limits)


def _has_rounded_numbers(column: pl.Series) -> bool:
    """Return whether a column of text has numbers in the driver's form with an exponent, 1.234568e+04."""
    if column.dtype != pl.String:
        return False
    has_exponent = column.str.contains("e+", literal=True) | column.str.contains("e-", literal=True)
    return bool(has_exponent.any())
