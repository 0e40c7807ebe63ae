"""Reading of CSV: its separator, its encoding, and files that were cut while they were written."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from storage.schemas import ROW_PROBLEM, DataError, MissingColumn
from storage.schemas.suggestions import did_you_mean, shown_names
from storage.sources.csv_short_lines import SHORT, find_short_lines

logger = logging.getLogger(__name__)

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # first bytes of compressed files
_FOREIGN = "\ufffd"  # what Polars puts in place of bytes that are not UTF-8
_CUT = (
    "the last line has no line end, so the file may be cut "
    '(set last_line = "accept" in [feed.options] if such a line is complete)'
)
_HEAD = 64  # bytes that show the encoding


@dataclass(frozen=True)
class CsvForm:
    """Form of a CSV file.

    Attributes:
        separator: Character between the cells.
        encoding: Encoding by its name in Python.
        skip_rows: Lines before the one with the names of the columns.
        refuses_cut_line: True if a last line without a line end is a problem.
        refuses_short_lines: True if a line with fewer cells than names is a problem.
    """

    separator: str = ","
    encoding: str = "utf-8"
    skip_rows: int = 0
    refuses_cut_line: bool = False
    refuses_short_lines: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> CsvForm:
        """Return the form that the options of a feed declare."""
        return cls(
            options.get("separator", ","), options.get("encoding", "utf-8"), options.get("skip_rows", 0),
            options.get("last_line") == "refuse", options.get("wide") is None,
        )  # fmt: skip


#: CSV of which nothing is declared.
PLAIN_CSV = CsvForm()


def read_csv(source: Path | bytes, name: str, columns: Sequence[str], form: CsvForm) -> pl.DataFrame:
    """Return the requested columns as text. A row with a problem has it in the column `ROW_PROBLEM`.

    Args:
        source: Path or content, plain or compressed.
        name: Name of the source, with which errors start.
        columns: Columns to read, none for all.
        form: How the file is written.

    Raises:
        DataError: The source has another form, or a column is missing.
        pl.exceptions.NoDataError: The source is empty.
    """
    head = _read_head(source)
    is_utf8 = codecs.lookup(form.encoding).name in ("utf-8", "utf-8-sig")
    if is_utf8:
        _refuse_utf16(head, name)
    else:
        source = _to_utf8(source, name, form.encoding)
    readable = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        scan = _scan(readable, form, is_lossy=False)
        columns = select_columns(scan, name, columns, form)
        try:
            table = scan.select(_with_last(scan, columns)).collect().select(columns)
        except pl.exceptions.ComputeError as error:
            if "utf-8" not in str(error):
                raise
            table = _read_lossy(readable, name, columns, form)
    except pl.exceptions.ComputeError as error:
        raise _format_error(error, source, name, form) from None
    if form.refuses_short_lines:
        table = _with_short_lines(table, readable, scan.collect_schema().names(), columns, form)
    if form.refuses_cut_line and len(table) and _is_cut(source):
        is_last = pl.int_range(pl.len()) == pl.len() - 1
        other = pl.col(ROW_PROBLEM) if ROW_PROBLEM in table.columns else pl.lit(None, pl.String)
        table = table.with_columns(pl.when(is_last).then(pl.lit(_CUT)).otherwise(other).alias(ROW_PROBLEM))
    return table


def _with_short_lines(
    table: pl.DataFrame, readable: Path | io.BytesIO, names: list[str], columns: Sequence[str], form: CsvForm
) -> pl.DataFrame:
    """Return the table with a problem in the rows of lines that end before the last requested column."""
    last = max(columns, key=names.index)
    if not table[last].null_count():
        return table
    is_short = find_short_lines(readable, table, form.separator, form.skip_rows, names.index(last) + 1)
    if not is_short.any():
        return table
    return table.with_columns(pl.when(is_short).then(pl.lit(SHORT)).alias(ROW_PROBLEM))


def select_columns(scan: pl.LazyFrame, name: str, columns: Sequence[str], form: CsvForm | None = None) -> Sequence[str]:
    """Return the columns to read: the requested ones, or all columns of the file if none is requested.

    Args:
        scan: The file.
        name: Name of the file, with which errors start.
        columns: Columns to read, none for all.
        form: How the file is written if it is CSV.

    Raises:
        DataError: The file lacks one of the columns, or has it twice.
    """
    present = scan.collect_schema().names()
    if form is not None:
        _refuse_carriage_returns(name, present)
    missing = [column for column in columns if column not in present]
    if missing:
        meant = did_you_mean(missing[0], present)
        advice = (_header_advice(present, form) if form else "") or (f".{meant}" if meant else "")
        raise MissingColumn(name, missing[0], f"the file has {shown_names(present)}{advice}")
    duplicated = [column for column in columns if f"{column}_duplicated_0" in present]  # Polars' name of the second
    if duplicated:
        raise DataError(f"{name}: there are several columns {duplicated[0]!r}; rename all but one")
    return columns or present


def _refuse_carriage_returns(name: str, columns: Sequence[str]) -> None:
    """Raise DataError if the first line of a file, whose cells are `columns`, holds all of its lines."""
    # A name within quotes may hold CR LF.
    if any("\r" in column.replace("\r\n", "") for column in columns):
        raise DataError(f"{name}: its lines end with CR alone, as old spreadsheets write them; save it with LF or CRLF")


def _with_last(scan: pl.LazyFrame, columns: Sequence[str]) -> list[str]:
    """Return the columns and the last one of the file.

    Polars reads a row up to the last requested column only. Without the last one of the file, it would not notice a row
    with more cells than names, whose values are in the wrong columns.
    """
    last = scan.collect_schema().names()[-1]
    return [*columns, *([] if last in columns else [last])]


def _scan(readable: Path | io.BytesIO, form: CsvForm, *, is_lossy: bool) -> pl.LazyFrame:
    # Cells stay text: the feed's checks convert them and record a reason for each cell that is not a number.
    return pl.scan_csv(
        readable, infer_schema=False, glob=False, separator=form.separator, skip_rows=form.skip_rows,
        encoding="utf8-lossy" if is_lossy else "utf8",
    )  # fmt: skip


def _read_lossy(readable: Path | io.BytesIO, name: str, columns: Sequence[str], form: CsvForm) -> pl.DataFrame:
    """Return the columns of a file with bytes that are not UTF-8, if those are in other columns."""
    scan = _scan(readable, form, is_lossy=True)
    table = scan.select(_with_last(scan, columns)).collect().select(columns)
    for column in columns:
        is_foreign = table[column].str.contains(_FOREIGN, literal=True).fill_null(False)
        if is_foreign.any():
            row = int(is_foreign.arg_true()[0])
            raise DataError(
                f"{name}: column {column!r} has bytes that are not UTF-8 (first: {table[column][row]!r} in row "
                f'{row + 1}); set the encoding in [feed.options], such as encoding = "cp1252"'
            )
    return table


def _header_advice(present: list[str], form: CsvForm) -> str:
    """Return what a header of another form suggests."""
    if any(_FOREIGN in column for column in present):
        return '. A name has bytes that are not UTF-8: set the encoding in [feed.options], such as encoding = "cp1252".'
    if present[0].startswith("sep="):  # a line for spreadsheets
        return ". Set skip_rows = 1 in [feed.options]."
    if len(present) > 1 or form.separator in "".join(present):
        return ""
    for separator in ";\t|,":
        if separator in present[0]:
            written = "\\t" if separator == "\t" else separator
            return f'. Set the separator in [feed.options]: separator = "{written}".'
    return ". If the names of the columns are in a later line, set skip_rows in [feed.options]."


def _format_error(error: Exception, source: Path | bytes, name: str, form: CsvForm) -> DataError:
    """Return the error about content that is not CSV of this form."""
    logger.debug("%s: %s", name, error)
    text = str(error)
    if "more fields" in text:
        return DataError(
            f"{name}: {_long_line(source, form)} has more cells than the first line has names. Is the decimal mark a "
            "comma? Declare separator and decimal in [feed.options], and quote cells that contain the separator."
        )
    if "end of file" in text or "deflate" in text:
        return DataError(f"{name}: cannot be read as csv: unexpected end of file; copy it again from its source")
    return DataError(
        f"{name}: cannot be read as csv: the lines and quotes do not form a table; check its separator, and whether "
        "each quote is closed"
    )


def _long_line(source: Path | bytes, form: CsvForm) -> str:
    """Return the number of the first line with more cells than the header."""
    try:
        lines = _decompress(source).decode("utf-8", "replace").splitlines()[form.skip_rows :]
        rows = csv.reader(lines, delimiter=form.separator)
        width = len(next(rows))
        for row in rows:
            if len(row) > width:
                return f"line {rows.line_num + form.skip_rows} ({form.separator.join(row)[:80]!r})"
    except (csv.Error, StopIteration, OSError, EOFError, zlib.error):
        pass
    return "a line"


def _read_head(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        head = source[:_HEAD]
    else:
        with source.open("rb") as file:
            head = file.read(_HEAD)
    if head.startswith(_GZIP):
        try:
            with gzip.open(source if isinstance(source, Path) else io.BytesIO(source)) as unpacked:
                return unpacked.read(_HEAD)
        except (OSError, EOFError, zlib.error):
            return b""
    return b"" if head.startswith(_ZSTD) else head


def _refuse_utf16(head: bytes, name: str) -> None:
    if head.startswith(_UTF16_MARKS) or b"\0" in head:
        raise DataError(f'{name}: the file is not UTF-8; if it is UTF-16, set encoding = "utf-16" in [feed.options]')


def _to_utf8(source: Path | bytes, name: str, encoding: str) -> bytes:
    """Return the content in UTF-8."""
    try:
        return _decompress(source).decode(encoding).removeprefix("\ufeff").encode()
    except UnicodeError:
        raise DataError(f"{name}: the file is not {encoding}; correct the encoding in [feed.options]") from None
    except (EOFError, zlib.error):
        raise DataError(
            f"{name}: cannot be read as csv: unexpected end of file; copy it again from its source"
        ) from None


def _decompress(source: Path | bytes) -> bytes:
    content = source if isinstance(source, bytes) else source.read_bytes()
    if content.startswith(_ZSTD):
        raise OSError("an encoding other than UTF-8 needs a plain or gzip file, not zstd")
    return gzip.decompress(content) if content.startswith(_GZIP) else content


def _is_cut(source: Path | bytes) -> bool:
    """Return whether plain content ends without a line end. Compressed content has a check of its own."""
    if isinstance(source, bytes):
        head, last = source[:4], source[-1:]
    else:
        with source.open("rb") as file:
            head = file.read(4)
            file.seek(-1, io.SEEK_END)
            last = file.read(1)
    return last not in (b"\n", b"\r") and not head.startswith((_GZIP, _ZSTD))
