"""Limits of a read: sources that never end, that grow when they are unpacked, or that lead elsewhere."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.schemas import DataError
from storage.sources import files, globs, sql, zstd_size
from storage.sources import web as source
from storage.sources.limits import run_within
from storage.sources.request import Request
from tests.support.web_server import Web

CSV = b"t,y\n2018-09-01T00:00,1.5\n"
COLUMNS = ["t", "y"]
ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select i as t, i as y from n"


@pytest.fixture
def raw_server() -> Iterator[Callable[[bytes], str]]:
    """Return a function that serves bytes on a new port as one response, slowly, and returns its address."""
    listeners = []

    def serve(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def respond() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                try:
                    for start in range(0, len(answer), 20):
                        connection.sendall(answer[start : start + 20])
                        time.sleep(0.01)
                except OSError:
                    pass

        threading.Thread(target=respond, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/x.csv"

    yield serve
    for listener in listeners:
        listener.close()


def test_a_body_that_grows_beyond_the_limit_is_refused(web: Web, request_of: Callable[..., Request]) -> None:
    packed = gzip.compress(b"t,y\n" + b"2018-09-01T00:00,1.5\n" * 200_000)
    web.respond("/x.csv", (200, {"Content-Encoding": "gzip"}, packed))
    with pytest.raises(DataError, match="more than max_megabytes = 2 after decompression"):
        source.read(request_of(f"{web.address}/x.csv", COLUMNS, max_megabytes=2))
    assert len(source.read(request_of(f"{web.address}/x.csv", COLUMNS, max_megabytes=5))) == 200_000


def test_all_pages_together_are_limited(web: Web, request_of: Callable[..., Request]) -> None:
    page = json.dumps([{"t": "x", "y": 1}] * 1000).encode()
    web.respond("/x", page)
    with pytest.raises(DataError, match=r"max_megabytes = 0\.1"):
        source.read(request_of(f"{web.address}/x?page={{page}}", COLUMNS, max_megabytes=0.1))
    with pytest.raises(DataError, match="more than max_pages = 3 pages"):
        source.read(request_of(f"{web.address}/x?page={{page}}", COLUMNS, max_pages=3))


@pytest.mark.parametrize("end", [-30, -1])
def test_a_compressed_body_that_is_cut_is_no_data(web: Web, request_of: Callable[..., Request], end: int) -> None:
    packed = gzip.compress(b"t,y\n" + b"".join(b"2018-09-01T00:00,%d\n" % n for n in range(1000)))
    web.respond("/x.csv", (200, {"Content-Encoding": "gzip"}, packed[:end]))
    with pytest.raises(DataError, match="ends within its gzip data"):
        source.read(request_of(f"{web.address}/x.csv", COLUMNS, retries=0))


def test_two_members_of_a_gzip_body_are_one_table(web: Web, request_of: Callable[..., Request]) -> None:
    packed = gzip.compress(CSV) + gzip.compress(b"2018-09-01T01:00,2.5\n")
    web.respond("/x.csv", (200, {"Content-Encoding": "gzip"}, packed))
    assert source.read(request_of(f"{web.address}/x.csv", COLUMNS))["y"].to_list() == ["1.5", "2.5"]


def test_a_body_without_a_length_must_end_with_a_line(
    raw_server: Callable[[bytes], str], request_of: Callable[..., Request]
) -> None:
    head = b"HTTP/1.0 200 OK\r\n\r\n"
    assert len(source.read(request_of(raw_server(head + CSV), COLUMNS))) == 1
    with pytest.raises(DataError, match="has no length and ends within a line"):
        source.read(request_of(raw_server(head + CSV[:-3]), COLUMNS, retries=0))


def test_slow_headers_exceed_the_time_of_a_response(
    raw_server: Callable[[bytes], str], request_of: Callable[..., Request]
) -> None:
    """Each byte arrives in time, but there are too many of them."""
    answer = b"HTTP/1.1 200 OK\r\n" + b"X-Header: yyyyyyyy\r\n" * 2000
    with pytest.raises(DataError, match=r"ReadTimeout: the response was incomplete after 1 s"):
        source.read(request_of(raw_server(answer), COLUMNS, timeout=0.1, retries=0))


def test_redirects_and_links_stay_on_the_host(web: Web, request_of: Callable[..., Request]) -> None:
    elsewhere = web.address.replace("127.0.0.1", "localhost")
    web.respond("/x.csv", CSV)
    web.respond("/there.csv", (302, {"Location": f"{elsewhere}/x.csv"}, b""))
    web.respond("/here.csv", (302, {"Location": "/x.csv"}, b""))
    web.respond("/loop.csv", (302, {"Location": "/loop.csv"}, b""))
    web.respond("/pages", json.dumps({"d": [{"t": "a", "y": 1}], "next": f"{elsewhere}/pages"}).encode())
    host = elsewhere.removeprefix("http://")
    assert len(source.read(request_of(f"{web.address}/here.csv", COLUMNS))) == 1
    assert len(source.read(request_of(f"{web.address}/there.csv", COLUMNS, hosts=(host,)))) == 1
    with pytest.raises(DataError, match="more than 10 redirects"):
        source.read(request_of(f"{web.address}/loop.csv", COLUMNS))
    for path, options, what in (
        ("/there.csv", {}, "redirect"),
        ("/pages", {"records": "d", "next": "next"}, "next page"),
    ):
        with pytest.raises(DataError, match=f"the {what} leads to {elsewhere}; add this host to hosts"):
            source.read(request_of(f"{web.address}{path}", COLUMNS, **options))


def test_files_are_limited_after_decompression(tmp_path: Path, request_of: Callable[..., Request]) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"t,y\n" + b"2018-09-01T00:00,1.5\n" * 200_000))
    (tmp_path / "b.csv").write_bytes(b"t,y\n" + b"2018-09-01T00:00,1.5\n" * 200_000)
    for name in ("a.csv.gz", "b.csv"):
        with pytest.raises(DataError, match="more than max_megabytes = 2 "):
            files.read(request_of(str(tmp_path / name), COLUMNS, max_megabytes=2))
        assert len(files.read(request_of(str(tmp_path / name), COLUMNS, max_megabytes=5))) == 200_000
    with pytest.raises(DataError, match="more than max_megabytes = 6 "):
        files.read(request_of(str(tmp_path / "*.csv*"), COLUMNS, max_megabytes=6))
    equal = pl.DataFrame({"t": pl.repeat("x", 2_000_000, eager=True), "y": pl.repeat(1.0, 2_000_000, eager=True)})
    equal.write_parquet(tmp_path / "c.parquet")
    with pytest.raises(DataError, match="2,000,000 rows, which need 4 times as much memory as max_megabytes = 2"):
        files.read(request_of(str(tmp_path / "c.parquet"), COLUMNS, max_megabytes=2))


def test_links_that_lead_back_are_followed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a/b/.hidden").mkdir(parents=True)
    for name in ("x.csv", "a/y.csv", "a/b/z.csv", "a/b/.hidden/no.csv"):
        (tmp_path / name).write_bytes(CSV)
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/down").symlink_to(tmp_path / "a/b")
    found = {os.path.realpath(path) for path in globs.match(f"{tmp_path}/**/*.csv")}
    assert found == {str(tmp_path / name) for name in ("x.csv", "a/y.csv", "a/b/z.csv")}
    assert len(globs.match(f"{tmp_path}/**/*.csv")) == 3
    assert globs.match(f"{tmp_path}/a/**/b/*.csv") == [f"{tmp_path}/a/b/z.csv"]
    monkeypatch.chdir(tmp_path)
    assert sorted(globs.match("**/*.csv"))[-1] == "x.csv" and globs.match("*.csv") == ["x.csv"]


def test_a_query_with_endless_rows_is_limited(tmp_path: Path, request_of: Callable[..., Request]) -> None:
    sqlite3.connect(tmp_path / "a.db").close()
    (tmp_path / "a.db").touch()
    endless = f"select t, y from ({ENDLESS}) limit 300000"
    request = request_of(f"sqlite:///{tmp_path / 'a.db'}", COLUMNS, endless, max_megabytes=1)
    with pytest.raises(DataError, match="more than max_megabytes = 1 "):
        sql.read(request)


def test_a_large_result_of_sqlite_is_refused_without_holding_it(
    tmp_path: Path, request_of: Callable[..., Request]
) -> None:
    (tmp_path / "a.db").touch()
    texts = f"select t, y, hex(zeroblob(5000)) as x from ({ENDLESS})"  # 10 kB each
    memory = Path("/proc/self/clear_refs")
    request = request_of(f"sqlite:///{tmp_path / 'a.db'}", [*COLUMNS, "x"], f"{texts} limit 40000", max_megabytes=1)
    memory.write_text("5")  # the peak begins at the current memory
    before = peak_megabytes()
    with pytest.raises(DataError, match="more than max_megabytes = 1 "):
        sql.read(request)
    assert peak_megabytes() - before < 40  # of 400
    few = request_of(f"sqlite:///{tmp_path / 'a.db'}", [*COLUMNS, "x"], f"{texts} limit 90", max_megabytes=1)
    assert sql.read(few)["x"].str.len_bytes().to_list() == [10_000] * 90


def peak_megabytes() -> float:
    """Return the most memory that this process has held since the peak was reset."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1000  # type: ignore[index]


def test_a_read_that_never_ends_is_given_up() -> None:
    ended = threading.Event()
    with pytest.raises(DataError, match=r"a feed: the read took longer than max_time = 0\.05s"):
        run_within(0.05, "a feed", ended.wait)
    ended.set()
    assert run_within(60, "a feed", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        run_within(60, "a feed", lambda: 1 // 0)


def test_a_body_that_is_a_compressed_file_counts_unpacked(web: Web, request_of: Callable[..., Request]) -> None:
    packed = gzip.compress(b"t,y\n" + b"2018-09-01T00:00,1.5\n" * 200_000)
    for path, headers, body in (
        ("/once.csv.gz", {}, packed),
        ("/twice.csv.gz", {"Content-Encoding": "gzip"}, gzip.compress(packed)),
    ):
        web.respond(path, (200, headers, body))
        with pytest.raises(DataError, match="max_megabytes = 1 after decompression"):
            source.read(request_of(f"{web.address}{path}", COLUMNS, max_megabytes=1))


def zstd_frame(*blocks: bytes, declared: int | None = None) -> bytes:
    """A zstd frame with blocks, of one byte that is repeated, or as they are."""
    head = b"\x20" + bytes([declared]) if declared is not None else b"\x00\x00"
    parts = []
    for number, block in enumerate(blocks):
        is_repeated = len(set(block)) == 1 and len(block) > 1
        fields = len(block) << 3 | is_repeated << 1 | (number == len(blocks) - 1)
        parts.append(fields.to_bytes(3, "little") + (block[:1] if is_repeated else block))
    return zstd_size.MAGIC + head + b"".join(parts)


def test_the_size_of_a_zstd_file_is_that_of_all_frames_and_blocks() -> None:
    frames = (
        zstd_frame(b"t,y\n", b"1" * 1000, declared=3) + b"\x50\x2a\x4d\x18\x02\x00\x00\x00ab" + zstd_frame(b"2" * 500)
    )
    assert zstd_size.zstd_size(io.BytesIO(frames), 10**9) == 4 + 1000 + 500
    assert zstd_size.zstd_size(io.BytesIO(zstd_frame(*[b"1" * 100_000] * 50)), 1_000_000) <= 1_100_000
    assert zstd_size.zstd_size(io.BytesIO(frames[:9]), 10**9) <= 4


@given(st.integers(0, 400_000), st.integers(1, 7))
def test_the_size_of_a_compressed_csv_is_exact_but_for_one_block(rows: int, digits: int) -> None:
    file = io.BytesIO()
    frame = pl.DataFrame({"y": pl.int_range(rows, eager=True) % 10**digits})
    frame.write_csv(file, compression="zstd")
    size = len(frame.write_csv())
    file.seek(0)
    assert size <= zstd_size.zstd_size(file, 10**9) <= size + 2**17


def test_a_zstd_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, request_of: Callable[..., Request]) -> None:
    path = tmp_path / "a.csv.zst"
    # The first frame declares its true size, which says nothing of the next.
    path.write_bytes(zstd_frame(b"t,y\n", declared=4) + zstd_frame(*[b"1" * 2**17] * 1000))
    with pytest.raises(DataError, match="more than max_megabytes = 20 after decompression"):
        files.read(request_of(str(path), COLUMNS, max_megabytes=20))
