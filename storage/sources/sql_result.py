"""Result of a SQL query as a table of Polars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from storage.schemas import DataError, MissingColumn
from storage.sources.request import Request


def fetch_table(cursor: Any) -> pl.DataFrame:
    """Return the result of the cursor's query.

    Raises:
        DataError: A text is not UTF-8. SQLite stores such texts, and Polars would fail at them later.
    """
    arrow = cursor.fetch_arrow_table()
    for name, column in zip(arrow.column_names, arrow.columns, strict=True):
        try:
            column.validate(full=True)
        except ValueError:
            raise DataError(
                f"column {name!r} of the query holds text that is not UTF-8; correct it in the source or leave the "
                "column out"
            ) from None
    table = pl.from_arrow(arrow)
    assert isinstance(table, pl.DataFrame)
    return table


def check_columns(columns: Sequence[str], present: Sequence[str], request: Request) -> None:
    """Raise DataError if the result of a query lacks a column."""
    missing = [column for column in columns if column not in present]
    if missing:
        names = ", ".join(map(repr, present))
        raise MissingColumn(request.redacted_uri, missing[0], f"the query gives {names}")
