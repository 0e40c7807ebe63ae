"""Web feeds, on a real HTTP server: formats, paging, transient and permanent errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from storage.schemas import DataError
from storage.sources import web as source
from storage.sources.request import Request
from tests.support.web_server import Response, Web

CSV = b"t,y\n2018-09-01T00:00,1.5\n2018-09-01T01:00,n/a\n"
COLUMNS = ["t", "y"]


def records(*values: int) -> bytes:
    return json.dumps({"data": {"items": [{"t": f"2018-09-01T{v:02d}:00", "y": v} for v in values]}}).encode()


def test_csv_cells_stay_text(web: Web, request_of: Callable[..., Request]) -> None:
    web.respond("/load.csv", CSV)
    rows = source.read(request_of(f"{web.address}/load.csv?from={{since}}&to={{until}}", COLUMNS))
    assert rows.to_dicts() == [{"t": "2018-09-01T00:00", "y": "1.5"}, {"t": "2018-09-01T01:00", "y": "n/a"}]
    assert web.requests == ["/load.csv?from=2018-09-01T00%3A00%3A00Z&to=2018-09-02T00%3A00%3A00Z"]


def test_json_records_under_a_path(web: Web, request_of: Callable[..., Request]) -> None:
    web.respond("/load", records(1, 2, 3))
    rows = source.read(request_of(f"{web.address}/load", COLUMNS, records="data.items"))
    assert rows["y"].to_list() == [1.0, 2.0, 3.0]
    web.respond("/list", json.dumps([{"a": {"b": 1}, "y": "7"}, {"a": None, "y": None}]).encode())
    rows = source.read(request_of(f"{web.address}/list", ["a.b", "y"]))
    assert rows.to_dicts() == [{"a.b": 1.0, "y": "7"}, {"a.b": None, "y": None}]


def test_numbered_pages_until_one_is_empty(web: Web, request_of: Callable[..., Request]) -> None:
    web.respond("/load", records(1, 2), records(3), records())
    rows = source.read(request_of(f"{web.address}/load?page={{page}}", COLUMNS, records="data.items"))
    assert rows["y"].to_list() == [1.0, 2.0, 3.0]
    assert web.requests == [f"/load?page={n}" for n in (1, 2, 3)]


def test_pages_with_the_address_of_the_next(web: Web, request_of: Callable[..., Request]) -> None:
    first = json.loads(records(1)) | {"links": {"next": "/load?cursor=abc"}}
    web.answers["/load"] = lambda path: (200, {}, records(2) if "cursor" in path else json.dumps(first).encode())
    rows = source.read(request_of(f"{web.address}/load", COLUMNS, records="data.items", next="links.next"))
    assert rows["y"].to_list() == [1.0, 2.0]


def test_a_transient_error_is_retried(web: Web, request_of: Callable[..., Request]) -> None:
    web.respond("/load.csv", (503, {}, b""), (429, {"Retry-After": "0"}, b"slow down"), CSV)
    assert len(source.read(request_of(f"{web.address}/load.csv", COLUMNS))) == 2
    assert len(web.requests) == 3


def test_retry_after_is_respected(web: Web, request_of: Callable[..., Request]) -> None:
    web.respond("/load.csv", (429, {"Retry-After": "1"}, b""), CSV)
    started = time.monotonic()
    source.read(request_of(f"{web.address}/load.csv", COLUMNS))
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_permanent_error_is_not_retried(web: Web, request_of: Callable[..., Request], status: int) -> None:
    web.respond("/load.csv", (status, {}, b"no such\n thing for token=planted-s3cret"))
    with pytest.raises(DataError, match=f"HTTP status {status}: no such thing") as raised:
        source.read(request_of(f"{web.address}/load.csv?securityToken=planted-s3cret", COLUMNS))
    assert len(web.requests) == 1
    assert "planted-s3cret" not in str(raised.value)


def test_a_server_that_fails_or_is_slow_is_an_error_after_all_attempts(
    web: Web, request_of: Callable[..., Request]
) -> None:
    web.respond("/load.csv", (503, {}, b""))
    with pytest.raises(DataError, match="HTTP status 503, after 3 attempts") as raised:
        source.read(request_of(f"{web.address}/load.csv?api_key=planted-s3cret", COLUMNS))
    assert "api_key=***" in str(raised.value)

    def slowly(_: str) -> Response:
        time.sleep(0.3)
        return 200, {}, CSV

    web.answers["/slow.csv"] = slowly
    with pytest.raises(DataError, match=r"ReadTimeout.*after 1 attempt"):
        source.read(request_of(f"{web.address}/slow.csv", COLUMNS, timeout=0.1, retries=0))
    with pytest.raises(DataError, match=r"ConnectError.*after 3 attempts"):
        source.read(request_of("http://127.0.0.1:1/load.csv", COLUMNS))


@pytest.mark.parametrize(
    ("path", "body", "options", "message"),
    [
        ("/x.csv", b"a,b\n1,2\n", {}, "no column 't'; the file has 'a', 'b'"),
        ("/x", b"<html>", {}, "not JSON: <html>"),
        ("/x", b'{"a": 1}', {}, "no list of records in the response; set its path in options.records"),
        ("/x", b'{"a": 1}', {"records": "b.c"}, "no list of records at 'b.c'"),
        ("/x", b'[{"a": 1}]', {}, "no record has 't'; the first has 'a'"),
    ],
)
def test_a_response_without_the_feeds_format_or_columns_is_an_error(
    web: Web, request_of: Callable[..., Request], path: str, body: bytes, options: dict[str, Any], message: str
) -> None:
    web.respond(path, body)
    with pytest.raises(DataError, match=message):
        source.read(request_of(web.address + path, COLUMNS, **options))


def test_numbers_and_texts_outside_of_any_type(web: Web, request_of: Callable[..., Request]) -> None:
    web.respond("/x", b'[{"t": "a", "y": 1%s}, {"t": "b", "y": NaN}, {"t": "c", "y": 1e999}]' % (b"0" * 5000))
    read = source.read(request_of(f"{web.address}/x", COLUMNS))
    assert [str(y) for y in read["y"]] == ["inf", "nan", "inf"]
    for wrong in (rb'[{"t": "\ud800", "y": 1}]', b"[" * 100_000):
        web.respond("/x", wrong)
        with pytest.raises(DataError, match="the response is not JSON"):
            source.read(request_of(f"{web.address}/x", COLUMNS))


def test_an_empty_response_is_an_empty_feed(web: Web, request_of: Callable[..., Request]) -> None:
    web.respond("/x.csv", b"")
    web.respond("/x", b"[]")
    for path in ("/x.csv", "/x"):
        assert source.read(request_of(web.address + path, COLUMNS)).is_empty()
