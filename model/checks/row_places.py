"""Place of a row in its source, for messages: the number of the row, and the file of a feed of several files."""

from __future__ import annotations

import polars as pl


def row_place(row: int, files: pl.Series | None) -> str:
    """Return where a row stands, such as "row 6 of day2.csv".

    Args:
        row: Number of the row in the table as it was read, from 0.
        files: File of each row, whose rows are contiguous. None: the table has one source.
    """
    if files is None:
        return f"row {row + 1}"
    name = files[row]
    first = int((files == name).arg_max() or 0)
    return f"row {row - first + 1} of {name}"
