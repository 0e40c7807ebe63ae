"""Files on a disk: plain, compressed, several, and damaged."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.schemas import FILE, DataError
from storage.sources import files, formats
from storage.sources.request import Request

COLUMNS = ["t", "y"]
ROWS = pl.DataFrame({"t": ["2018-09-01", "2018-09-02"], "y": ["1.5", "n/a"], "more": ["x", "x"]})


def write(folder: Path, name: str) -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(ROWS.write_csv().encode()))
    elif name.endswith(".zst"):
        ROWS.write_csv(path, compression="zstd")
    elif name.endswith(".csv"):
        ROWS.write_csv(path)
    else:
        ROWS.write_parquet(path)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.CSV.GZ", "a.csv.gz", "a.csv.zst", "a.parquet", "a [1].pq"])
def test_forms_of_a_file(tmp_path: Path, request_of: Callable[..., Request], name: str) -> None:
    path = write(tmp_path, name.lower())
    path = path.rename(tmp_path / name)
    assert files.read(request_of(str(path), COLUMNS)).rows() == ROWS.select(COLUMNS).rows()


def test_a_glob_over_forms(tmp_path: Path, request_of: Callable[..., Request]) -> None:
    for name in ("2018/a.csv", "2018/b.csv.gz", "2019/c.csv.zst"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name)
    rows = files.read(request_of(f"{tmp_path}/**/*.csv*", COLUMNS))
    names = ["a.csv", "b.csv.gz", "c.csv.zst"]
    assert (len(rows), rows[FILE].to_list()) == (6, [name for name in names for _ in range(2)])
    pl.DataFrame({"t": [[1]], "y": ["1"]}).write_parquet(tmp_path / "d.parquet")
    write(tmp_path, "e.parquet")
    with pytest.raises(DataError, match=r"\*.parquet: the files do not fit together"):
        files.read(request_of(f"{tmp_path}/*.parquet", COLUMNS))


def test_parquet_times_with_a_fixed_offset(tmp_path: Path, request_of: Callable[..., Request]) -> None:
    """pandas writes the offset as the zone of the column. Each file may have another one."""
    for name, offset in (("a", "+05:30"), ("b", "-03:00")):
        times = pa.array([datetime(2018, 9, 1)], pa.timestamp("us", offset))
        pq.write_table(pa.table({"t": times, "y": [1.0]}), tmp_path / f"{name}.parquet")
    rows = files.read(request_of(f"{tmp_path}/*.parquet", COLUMNS))
    assert rows["t"].to_list() == [datetime(2018, 9, 1, tzinfo=UTC)] * 2


# Without the time in its header: a test's name must be the same in every process that collects it.
CUT_OFF = gzip.compress(ROWS.write_csv().encode() * 50, mtime=0)[:-9]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv.gz", CUT_OFF, "read as csv: unexpected end of file"),
        ("a.csv", b"t,y,y\n1,2,3\n", "there are several columns 'y'"),
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"t,z\n1,2\n", "there is no column 'y'; the file has 't', 'z'"),
        ("a.txt", b"t,y\n", "must end in .parquet, .pq, .csv, .csv.gz, .csv.zst"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(
    tmp_path: Path, request_of: Callable[..., Request], name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        files.read(request_of(str(tmp_path / name), COLUMNS))
    with pytest.raises(DataError, match="there is no such file"):
        files.read(request_of(str(tmp_path / "none.csv"), COLUMNS))


def test_a_parquet_file_that_is_truncated_or_another_kind_of_file(
    tmp_path: Path, request_of: Callable[..., Request]
) -> None:
    path = write(tmp_path, "a.parquet")
    whole = path.read_bytes()
    for content, problem in (
        (b"", "it has 0 bytes, too few"),
        (b"t,y\n1,2\n2018-09-01,1\n", "does not begin with PAR1"),
        (whole[: len(whole) // 2], "does not end with PAR1"),
        (whole[:-8] + b"\xff\xff\xff\x7fPAR1", "it declares a footer of 2147483647 bytes"),
    ):
        for source in (path, content):
            path.write_bytes(content)
            with pytest.raises(DataError, match=f"a.parquet: cannot be read as parquet: .*{problem}"):
                formats.read(source, "a.parquet", COLUMNS)


@pytest.mark.parametrize(("column", "names", "remedy"), [
    (pa.array([1]), ["t", "y", "y"], "more than one occurrence; give each column a name of its own"),
    (pa.array([Decimal(1)], pa.decimal256(50, 2)), ["t", "y", "z"], "more than 38 digits; store it as double"),
])  # fmt: skip
def test_a_whole_file_that_cannot_be_read_is_not_called_damaged(
    tmp_path: Path, column: pa.Array, names: list[str], remedy: str
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), column, pa.array([1])], names=names), path)
    with pytest.raises(DataError, match=rf"a\.parquet: cannot be read as parquet: .*{remedy}$"):
        formats.read(path, "a.parquet", COLUMNS)


def test_a_file_that_is_written_while_it_is_read_is_read_again(
    tmp_path: Path, request_of: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read, parts = write(tmp_path, "a.csv"), formats.read, iter(range(2))
    whole = path.read_text()
    path.write_text(whole[: whole.rindex("2018-09-02")])
    monkeypatch.setattr(files, "_PAUSE", 0.0)

    def read_while_written(*arguments: Any) -> pl.DataFrame:
        table = read(*arguments)
        if next(parts, None) is not None:
            path.write_text(whole)
            os.utime(path, ns=(0, time.time_ns()))
        return table

    monkeypatch.setattr(formats, "read", read_while_written)
    assert len(files.read(request_of(str(path), COLUMNS))) == 2
    parts = iter(range(100))
    with pytest.raises(DataError, match=r"a\.csv: it was changed while it was read; write another file and rename it"):
        files.read(request_of(str(path), COLUMNS))


def test_a_panic_of_the_library_is_one_error_that_names_the_file(
    tmp_path: Path, request_of: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    def panic(*_: object, **__: object) -> NoReturn:
        raise pl.exceptions.PanicException("assertion failed\n  left: 0")

    path = write(tmp_path, "a.parquet")
    monkeypatch.setattr(pl, "scan_parquet", panic)
    with pytest.raises(
        DataError, match=r"a\.parquet: cannot be read as parquet: the file is damaged; copy it again from its source$"
    ):
        files.read(request_of(str(path), COLUMNS))


def test_a_read_that_hangs_does_not_block_another(
    tmp_path: Path, request_of: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, sound = write(tmp_path, "hanging.parquet"), write(tmp_path, "sound.parquet")
    started, released = threading.Event(), threading.Event()
    scan_parquet = pl.scan_parquet

    def scan(source: Path, **options: Any) -> pl.LazyFrame:
        if source == hanging:
            started.set()
            released.wait(60)
        return scan_parquet(source, **options)

    monkeypatch.setattr(pl, "scan_parquet", scan)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(files.read, request_of(str(hanging), COLUMNS))
        try:
            assert started.wait(60)
            second = pool.submit(files.read, request_of(str(sound), COLUMNS))
            assert len(second.result(timeout=60)) == 2 and not first.done()
        finally:
            released.set()
        assert len(first.result(timeout=60)) == 2
