"""Reading of one Parquet or CSV file, from a path or from bytes, as a table."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from storage.schemas import FILE, ROW_PROBLEM, DataError, to_series_ids
from storage.sources.csv_text import PLAIN_CSV, CsvForm, read_csv, select_columns
from storage.sources.limits import Limits
from storage.store.parquet import READ_ERRORS

logger = logging.getLogger(__name__)

# Parquet files of pandas and Arrow may have times with a fixed offset, such as +05:30. Without this variable Polars
# panics over such a type. With it, Polars converts the times to UTC like those of any zone.
os.putenv("POLARS_IGNORE_TIMEZONE_PARSE_ERROR", "1")

_FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".csv.gz": "csv", ".csv.zst": "csv",
}  # fmt: skip
_MAGIC = b"PAR1"  # first and last bytes of a Parquet file
_TAIL = 8  # bytes: the footer's length as a little-endian integer, then the magic


def read(
    source: Path | bytes, name: str, columns: Sequence[str], csv_form: CsvForm = PLAIN_CSV, limits: Limits | None = None
) -> pl.DataFrame:
    """Return the requested columns of one file with the file's own types. CSV cells stay text.

    Args:
        source: Path or content of the file.
        name: Name of the file. Its ending selects the format, and errors start with it.
        columns: Columns to read, none for all.
        csv_form: How a CSV file is written.
        limits: Limits of the read. None: there are none.

    Raises:
        DataError: The file exceeds a limit, cannot be read in its format, or a column is missing.
    """
    form = next((form for ending, form in _FORMATS.items() if name.lower().endswith(ending)), None)
    if form is None:
        raise DataError(f"{name}: the name of a feed's file must end in {', '.join(_FORMATS)}")
    try:
        if form == "csv":
            return read_csv(source, name, columns, csv_form)
        _check_parquet(source)
        readable = io.BytesIO(source) if isinstance(source, bytes) else source
        scan = pl.scan_parquet(readable, hive_partitioning=False, glob=False)
        names = select_columns(scan, name, columns)
        if limits is not None:
            limits.check_table(scan.select(pl.len()).collect().item(), len(names))
        table = scan.select(names).collect()
        offsets = [column for column, dtype in table.schema.items() if _has_fixed_offset(dtype)]
        return table.with_columns(pl.col(offsets).dt.convert_time_zone("UTC")) if offsets else table
    except pl.exceptions.NoDataError:
        raise DataError(f"{name}: the file is empty; it must contain at least the names of the columns") from None
    except READ_ERRORS as error:
        raise DataError(f"{name}: cannot be read as {form}: {_problem(error)}") from None


def _problem(error: BaseException) -> str:
    """Return the problem in a sentence. The texts of a library are for its developers, and go to the log."""
    if isinstance(error, OSError) and "end of file" in str(error):
        return "unexpected end of file; copy it again from its source"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    logger.debug("A file cannot be read: %s", error)
    if isinstance(error, pl.exceptions.DuplicateError):
        return f"{str(error).splitlines()[0]}; give each column a name of its own"
    if isinstance(error, pl.exceptions.InvalidOperationError) and "precision" in str(error):
        return "a decimal column has more than 38 digits; store it as double"
    return "the file is damaged; copy it again from its source"


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return the sort key of a file's name: numbers within it are compared as numbers, so that 9 is before 10.

    Of rows with equal keys the one of the last file counts, so the order of files is one of time.
    """
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name


def concatenate_tables(
    tables: Sequence[pl.DataFrame], files: Sequence[str], name: str, series_id: str | None = None
) -> pl.DataFrame:
    """Return the rows of several files as one table, with the name of their file in the column `FILE`.

    Args:
        tables: Tables with the same columns.
        files: Name of each table's file.
        name: Name of all files for an error.
        series_id: Column of ids, which become text if their types differ.

    Raises:
        DataError: The types of a column do not match.
    """
    if series_id is not None and len({table[series_id].dtype for table in tables}) > 1:
        # A file without nulls has integers and one with nulls may have floats: their common type would lose digits.
        try:
            tables = [table.with_columns(to_series_ids(table[series_id])) for table in tables]
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
    if len(tables) > 1:
        # Within a file the order of rows shows which hour a repeated wall-clock time means. Across files it does not.
        names = _short_names(files)
        dtype = pl.Enum(names)
        tables = [
            table.with_columns(pl.lit(file, dtype).alias(FILE)) for file, table in zip(names, tables, strict=True)
        ]
    has_problems = any(ROW_PROBLEM in table.columns for table in tables)
    try:
        return pl.concat(tables, how="diagonal_relaxed" if has_problems else "vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        problem = str(error).splitlines()[0]
        raise DataError(f"{name}: the files do not fit together, a column has two types: {problem}") from None


def _short_names(files: Sequence[str]) -> list[str]:
    """Return the names of files without their folders if all differ."""
    names = [file.rpartition("/")[2] for file in files]
    return names if len(set(names)) == len(names) else list(files)


def _check_parquet(source: Path | bytes) -> None:
    """Raise OSError if a file is visibly truncated or not Parquet.

    Polars can panic over a damaged file, and Rust then prints to standard error. This cheap check finds the common
    damages before Polars reads the file.
    """
    if isinstance(source, bytes):
        size, head, tail = len(source), source[: len(_MAGIC)], source[-_TAIL:]
    else:
        with source.open("rb") as file:
            head = file.read(len(_MAGIC))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            tail = file.read()
    if size < len(_MAGIC) + _TAIL:
        raise OSError(f"it has {size} bytes, too few for a Parquet file; copy it again from its source")
    if head != _MAGIC:
        raise OSError("it does not begin with PAR1, so it is another kind of file")
    if tail[-len(_MAGIC) :] != _MAGIC:
        raise OSError("it does not end with PAR1, so its end is missing; copy it again from its source")
    footer = int.from_bytes(tail[:-4], "little")
    if footer > size - len(_MAGIC) - _TAIL:
        raise OSError(f"it declares a footer of {footer} bytes but has {size} bytes; copy it again from its source")


def _has_fixed_offset(dtype: pl.DataType) -> bool:
    """Return whether a type is times with an offset as their zone. Polars calls whole hours Etc/GMT."""
    return isinstance(dtype, pl.Datetime) and (dtype.time_zone or "").startswith(("+", "-", "Etc/GMT"))
