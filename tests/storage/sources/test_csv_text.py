"""CSV of many forms: separators, encodings, foreign bytes, and files that are cut while they are written."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from storage.schemas import FILE, ROW_PROBLEM, DataError
from storage.sources import files
from storage.sources.csv_text import PLAIN_CSV, CsvForm, read_csv
from storage.sources.request import Request

ROWS = [("2018-09-01", "1.5"), ("2018-09-02", "2.5")]


def read(content: bytes, form: CsvForm = PLAIN_CSV, folder: Path | None = None) -> pl.DataFrame:
    if folder is None:
        return read_csv(content, "a.csv", ["t", "y"], form)
    path = folder / "a.csv"
    path.write_bytes(content)
    return read_csv(path, "a.csv", ["t", "y"], form)


@pytest.mark.parametrize(
    ("text", "encoding", "form"),
    [
        ("t,y\n2018-09-01,1.5\n2018-09-02,2.5\n", "utf-8", CsvForm()),
        ("t,y\r\n2018-09-01,1.5\r\n2018-09-02,2.5\r\n", "utf-8-sig", CsvForm()),
        ("t;y;Zähler\n2018-09-01;1.5;ß\n2018-09-02;2.5;\n", "cp1252", CsvForm(separator=";", encoding="cp1252")),
        ("t\ty\n2018-09-01\t1.5\n2018-09-02\t2.5\n", "utf-16", CsvForm(separator="\t", encoding="utf-16")),
        ("Report\n\nt,y\n2018-09-01,1.5\n2018-09-02,2.5\n", "utf-8", CsvForm(skip_rows=2)),
        ("t,y,note\n2018-09-01,1.5,ok\n2018-09-02,2.5,Zähler\n", "latin-1", CsvForm()),
    ],
)
def test_declared_forms(tmp_path: Path, text: str, encoding: str, form: CsvForm) -> None:
    content = text.encode(encoding)
    assert read(content, form).rows() == ROWS
    assert read(content, form, tmp_path).rows() == ROWS
    assert read(gzip.compress(content), form, tmp_path).rows() == ROWS


@pytest.mark.parametrize(
    ("content", "form", "message"),
    [
        (b"t,y\r2018-09-01,1.5\r", PLAIN_CSV, "its lines end with CR alone"),
        ("t,y\n1,Zähler\n".encode("latin-1"), CsvForm(), r"column 'y' has bytes that are not UTF-8 .* in row 1\); set"),
        ("t,y\n1,2\n".encode("utf-16"), CsvForm(), 'if it is UTF-16, set encoding = "utf-16"'),
        ("t,y\n1,2\n".encode("utf-16-le"), CsvForm(), 'if it is UTF-16, set encoding = "utf-16"'),
        (b"t,y\n1,22\n", CsvForm(encoding="utf-16"), "the file is not utf-16"),
        (b"t;y\n1;2,5\n", CsvForm(), "there is no column 't'.* separator = \";\""),
        (b"t\ty\n1\t2\n", CsvForm(), r'separator = "\\t"'),
        (b"Report\nt,y\n1,2\n", CsvForm(), "set skip_rows"),
        (b"sep=;\nt;y\n1;2\n", CsvForm(separator=";"), "Set skip_rows = 1"),
        ("t,Zähler\n1,2\n".encode("latin-1"), CsvForm(), "set the encoding"),
        (
            b"t,y,note\n1,2,a\n2,2,5,b\n",
            CsvForm(),
            r"line 3 \('2,2,5,b'\) has more cells .* Is the decimal mark a comma",
        ),
        (b"t,y\n1,2\n2,2,5\n", CsvForm(), r"line 3 \('2,2,5'\) has more cells .* Is the decimal mark a comma"),
        (b't,y\n1,"2\n', CsvForm(), "whether each quote is closed"),
    ],
)
def test_another_form_is_one_error_that_names_the_option(content: bytes, form: CsvForm, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        read(content, form)
    assert "truncate_ragged_lines" not in str(raised.value) and "\n" not in str(raised.value)


def test_the_error_about_a_missing_column_names_some_of_many() -> None:
    header = ",".join(["t", "x" * 200, *(f"c{number}" for number in range(500))])
    with pytest.raises(
        DataError, match=r"there is no column 'y'; the file has 't', 'x{60}\.\.\.', .*'c27' and 472 more"
    ):
        read(f"{header}\n".encode())


def test_a_name_may_hold_a_line_end() -> None:
    assert read(b't,"y","load\r\n(MW)"\r\n2018-09-01,1.5,2\r\n').rows() == [("2018-09-01", "1.5")]


def test_a_last_line_without_a_line_end(tmp_path: Path, request_of: Callable[..., Request]) -> None:
    """The last number may be the first digits of another one."""
    for name, content in (("a.csv", b"t,y\n1,2500\n2,2"), ("b.csv", b"t,y\n3,4\n")):
        (tmp_path / name).write_bytes(content)
    rows = files.read(request_of(f"{tmp_path}/*.csv", ["t", "y"], last_line="refuse"))
    assert rows["y"].to_list() == ["2500", "2", "4"]
    assert [bool(problem) for problem in rows[ROW_PROBLEM]] == [False, True, False]
    assert "may be cut" in rows[ROW_PROBLEM][1]
    accepted = files.read(request_of(f"{tmp_path}/*.csv", ["t", "y"], last_line="accept"))
    assert accepted.columns == ["t", "y", FILE] and accepted[FILE].to_list() == ["a.csv", "a.csv", "b.csv"]
    # Compressed content and a header alone have no such line.
    form = CsvForm(refuses_cut_line=True)
    for content in (gzip.compress(b"t,y\n1,2"), b"t,y"):
        assert read(content, form).columns == ["t", "y"]


SHORT = CsvForm.of({"separator": ";"})


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_line_that_ends_before_a_requested_cell_is_a_problem(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    lines = b"t;x;y;note\n1;a;1;\n2;b\n3;c;;\n4;d;4\n5\n6;e;;n\n"
    (tmp_path / "a.csv.gz").write_bytes(compress(lines))
    for table in (
        read_csv(compress(lines), "a.csv", ["t", "y"], SHORT),
        read_csv(tmp_path / "a.csv.gz", "a.csv", ["y", "t"], SHORT),
    ):
        assert table["y"].to_list() == ["1", None, None, "4", None, None]
        problems = [bool(problem) for problem in table[ROW_PROBLEM]]
        assert problems == [False, True, False, False, True, False]
    assert "fewer cells" in table[ROW_PROBLEM][1]


@pytest.mark.parametrize(
    "content",
    [b"t;y\n1;1\n2;\n", b"t;y;n\n1;1\n2;2\n", b't;y;n\n1;;"a\nb"\n2\n', b"t;y\n1;1\n;\n"],
)
def test_empty_cells_and_cells_that_are_not_read_are_no_problem(content: bytes) -> None:
    assert ROW_PROBLEM not in read_csv(content, "a.csv", ["t", "y"], SHORT).columns
    assert (
        ROW_PROBLEM
        not in read_csv(b"t;y\n1\n", "a.csv", ["t", "y"], CsvForm.of({"separator": ";", "wide": "hours"})).columns
    )
