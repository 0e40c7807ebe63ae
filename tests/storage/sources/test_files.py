"""Files on this machine: plain, compressed, several, and damaged ones whose library panics."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import polars as pl
import pytest

from storage.schemas import DataError
from storage.sources import files
from storage.sources.panics import held_back

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
def test_forms_of_a_file(tmp_path, request_of, name):
    path = write(tmp_path, name.lower())
    path = path.rename(tmp_path / name)
    assert files.read(request_of(str(path), COLUMNS)).rows() == ROWS.select(COLUMNS).rows()


def test_a_glob_over_forms(tmp_path, request_of):
    for name in ("2018/a.csv", "2018/b.csv.gz", "2019/c.csv.zst"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name)
    assert len(files.read(request_of(f"{tmp_path}/**/*.csv*", COLUMNS))) == 6
    pl.DataFrame({"t": [[1]], "y": ["1"]}).write_parquet(tmp_path / "d.parquet")
    write(tmp_path, "e.parquet")
    with pytest.raises(DataError, match=r"\*.parquet: the parts do not fit together"):
        files.read(request_of(f"{tmp_path}/*.parquet", COLUMNS))


# Without the time in its header: a test's name must be the same in every process that collects it.
CUT_OFF = gzip.compress(ROWS.write_csv().encode() * 50, mtime=0)[:-9]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv.gz", CUT_OFF, "read as csv: unexpected end of file"),
        ("a.csv", b"t,y,y\n1,2,3\n", "there are several columns 'y'"),
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"t,z\n1,2\n", "there is no column 'y'; the file has 't', 'z'"),
        ("a.txt", b"t,y\n", "a file feed must end in .parquet, .pq, .csv, .csv.gz, .csv.zst"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(tmp_path, request_of, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        files.read(request_of(str(tmp_path / name), COLUMNS))
    with pytest.raises(DataError, match="there is no such file"):
        files.read(request_of(str(tmp_path / "none.csv"), COLUMNS))


PANIC = (
    b"\nthread 'async-executor-0' (10349) panicked at crates/polars/src/lib.rs:329:9:\nassertion failed\n  left: 0\n%s"
    b"note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
)
TRACE = b"stack backtrace:\n   0: rust_begin_unwind\n             at ./a.rs:1:2\n"


def test_what_a_panic_prints_is_not_heard_and_all_else_is(capfd):
    with pytest.raises(pl.exceptions.PanicException), held_back():
        os.write(2, b"before\n" + PANIC % b"" + b"between\n" + PANIC % TRACE + b"after\n")
        raise pl.exceptions.PanicException("assertion failed")
    assert capfd.readouterr().err == "before\nbetween\nafter\n"
    with held_back():
        os.write(2, PANIC % TRACE)
    assert capfd.readouterr().err == (PANIC % TRACE).decode()
    os.write(2, b"free\n")
    assert capfd.readouterr().err == "free\n"
