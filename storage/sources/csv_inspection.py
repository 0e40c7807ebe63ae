"""Form of an undeclared CSV file: its encoding, separator and header line, for a proposal to its user."""

from __future__ import annotations

import codecs
import csv
import gzip
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import polars as pl

from storage.schemas import ROW_PROBLEM, DataError
from storage.schemas.suggestions import shown_names
from storage.sources.csv_text import CsvForm, read_csv

_SEPARATORS = ";\t|,"
_LINES = 200  # lines that show the form
_LARGEST = 64_000_000  # bytes that are read of a file; the rest has the same form
_GZIP = b"\x1f\x8b"
_HEAD = 4096  # bytes that show whether a file is text
# First bytes of files that users take for CSV. A workbook of Excel is a zip file, or an OLE file if it is old.
_BINARY = {
    b"PK\x03\x04": "a zip file or a workbook (.xlsx)", b"\xd0\xcf\x11\xe0": "an old workbook (.xls)",
    b"\x89PNG": "a picture", b"\xff\xd8\xff": "a picture", b"%PDF": "a PDF file", b"PAR1": "a Parquet file",
    b"SQLite format 3": "a SQLite database",
}  # fmt: skip


class InspectedCsv(NamedTuple):
    """A CSV file and the form in which it could be read.

    Attributes:
        form: Form of the file.
        table: Its columns as text, of a large file the first part.
        ends_with_line: True if the last line has a line end.
    """

    form: CsvForm
    table: pl.DataFrame
    ends_with_line: bool


def inspect_csv(path: Path) -> InspectedCsv:
    """Return a CSV file with the form that its first lines show.

    Raises:
        DataError: The file is missing or empty, or its lines form no table.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file. Name a CSV file.")
    content = path.read_bytes()
    if content.startswith(_GZIP):
        content = gzip.decompress(content)
    _refuse_binary(content, path)
    ends_with_line = content.endswith((b"\n", b"\r", b"\n\0"))
    if len(content) > _LARGEST:
        content, ends_with_line = content[: content.rfind(b"\n", 0, _LARGEST) + 1], ends_with_line
    encoding = _encoding(content)
    lines = content[:1_000_000].decode(encoding, "replace").removeprefix("\ufeff").splitlines()[:_LINES]
    if not any(line.strip() for line in lines):
        raise DataError(f"{path}: the file is empty. Name a CSV file with a line of column names.")
    separator, skipped = _separator(lines)
    _refuse_unquoted_commas(lines, separator, skipped, path)
    form = CsvForm(separator, encoding, skipped)
    table = read_csv(content, str(path), [], form).drop(ROW_PROBLEM, strict=False)
    if table.is_empty():
        names = shown_names(table.columns)
        raise DataError(f"{path}: has only one line, the names of the columns ({names}), and no rows. Add the rows.")
    return InspectedCsv(form, table, ends_with_line)


def _refuse_unquoted_commas(lines: list[str], separator: str, skipped: int, path: Path) -> None:
    """Raise DataError if the rows have more cells than the line of names above them, and so no names."""
    rows = list(csv.reader(lines, delimiter=separator))
    if not 0 < skipped < len(rows) or any(cell.strip()[:1].isalpha() for cell in rows[skipped]):
        return
    names, cells = rows[skipped - 1], rows[skipped]
    if 1 < len(names) < len(cells):
        raise DataError(
            f"{path}: line {skipped} names {len(names)} columns, but line {skipped + 1} has {len(cells)} cells: "
            f"{lines[skipped][:80]!r}. Is the separator {separator!r} also the decimal mark? Export the file with "
            'another separator, such as ";", or quote the numbers, without a blank before the quotation mark.'
        )


def _refuse_binary(content: bytes, path: Path) -> None:
    """Raise DataError if the content is that of a known binary format, or has bytes that no text has."""
    name = next((name for mark, name in _BINARY.items() if content.startswith(mark)), None)
    has_nulls = b"\0" in content[:_HEAD] and not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if name is None and not has_nulls:
        return
    remedy = (
        "Name it as uri in the pipeline file that `gatecast init DIR` writes."
        if name == "a Parquet file"
        else "Unpack it, or save its table as CSV in the program that wrote it."
    )
    raise DataError(f"{path}: is {name or 'a binary file'} and not CSV. {remedy}")


def _encoding(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character that the limit of the inspection cuts is no fault of the encoding.
        if error.start < len(content) - 4:
            return "cp1252"
    return "utf-8"


def _separator(lines: list[str]) -> tuple[str, int]:
    """Return the separator by which most lines have equally many cells, and the number of lines before them."""
    best = (0, 0, ",", 0)
    for separator in _SEPARATORS:
        widths = [len(row) for row in csv.reader(lines, delimiter=separator)]
        width, count = Counter(width for width in widths if width > 1).most_common(1)[0] if max(widths) > 1 else (0, 0)
        if count:
            # More lines count more than more cells: a decimal comma also separates.
            best = max(best, (count, -_SEPARATORS.index(separator), separator, widths.index(width)))
    return best[2], best[3]
