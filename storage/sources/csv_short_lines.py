"""Lines of CSV with fewer cells than names, whose last cells would count as missing values."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

_NO_SEPARATOR = "\x01"  # A character that no text contains: each line is one cell.

SHORT = "the row has fewer cells than the first line has names"


def find_short_lines(
    readable: Path | io.BytesIO, table: pl.DataFrame, separator: str, skip_rows: int, cells: int
) -> pl.Series:
    """Return which rows of a table come from lines with fewer cells than needed.

    Polars fills such rows with nulls, like empty cells. If a quoted cell contains a line end, the lines are not the
    rows and none is found.

    Args:
        readable: The file, in UTF-8.
        table: Its rows.
        separator: Character between the cells.
        skip_rows: Lines before the names of the columns.
        cells: Number of cells that a line needs.
    """
    nothing = pl.repeat(False, len(table), dtype=pl.Boolean, eager=True)
    try:
        lines = pl.scan_csv(
            readable, infer_schema=False, glob=False, separator=_NO_SEPARATOR, skip_rows=skip_rows, quote_char=None,
            encoding="utf8-lossy", has_header=False, new_columns=["line"],
        )  # fmt: skip
        line = pl.col("line").fill_null("")
        is_short = (line != "") & (line.str.count_matches(separator, literal=True) < cells - 1)
        result = lines.slice(1).select(is_short).collect().to_series()
    except pl.exceptions.PolarsError:
        return nothing
    return result if len(result) == len(table) else nothing
