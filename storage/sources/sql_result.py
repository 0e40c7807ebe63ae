"""Result of a SQL query as a table of Polars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from storage.schemas import DataError, MissingColumn
from storage.schemas.suggestions import shown_names
from storage.sources.limits import Limits
from storage.sources.request import Request


def fetch_table(
    cursor: Any, limits: Limits | None = None, check_schema: Callable[[Any], None] | None = None
) -> pl.DataFrame:
    """Return the result of the cursor's query.

    Args:
        cursor: Cursor after the execution of the query.
        limits: Limits of the read. None: there are none.
        check_schema: Function that raises an error if a column of the Arrow schema has no usable type.

    Raises:
        DataError: The result exceeds a limit, two columns have one name, or a text is not UTF-8. SQLite stores such
            texts, and Polars would fail at them later.
    """
    reader = cursor.fetch_record_batch()
    if check_schema is not None:
        check_schema(reader.schema)
    names = reader.schema.names
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(several_columns(twice[0]))
    tables = [pl.from_arrow(reader.schema.empty_table())]
    for batch in reader:
        if limits is not None:
            limits.count_bytes(batch.nbytes)
        for name, column in zip(names, batch.columns, strict=True):
            try:
                column.validate(full=True)
            except ValueError:
                raise DataError(
                    f"column {name!r} of the query holds text that is not UTF-8; correct it in the source or leave "
                    "the column out"
                ) from None
        tables.append(pl.from_arrow(batch))
    return pl.concat([table for table in tables if isinstance(table, pl.DataFrame)])


def several_columns(name: str) -> str:
    """Return the error about a query with several columns of one name, as after a join."""
    return f'the query gives several columns {name!r}; name the other one differently, such as {name} as "other {name}"'


def check_columns(columns: Sequence[str], present: Sequence[str], request: Request) -> None:
    """Raise DataError if the result of a query lacks a column."""
    missing = [column for column in columns if column not in present]
    if missing:
        names = shown_names(present)
        raise MissingColumn(request.redacted_uri, missing[0], f"the query gives {names}")
    # SQLite's name of the second column of one name.
    twice = [column for column in columns if f"{column}:1" in present]
    if twice:
        raise DataError(f"{request.redacted_uri}: {several_columns(twice[0])}")
