"""Feeds that are CSV or JSON over HTTP(S), in one page or many.

The address may hold `{since}` and `{until}` (ISO 8601, UTC), and `{page}` (1, 2, ... until a page is empty). JSON
records lie under a dotted path, and the address of the next page too, if the answer names one.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urljoin

import httpx
import polars as pl

from storage.schemas import DataError
from storage.sources.fetch import client, fetch, parse
from storage.sources.request import Request

_MOST_PAGES = 10_000


def read(request: Request) -> pl.DataFrame:
    """The named columns of all pages; CSV cells stay text.

    Raises DataError when the server cannot be reached or refuses, after retries of what may pass, or when the answer
    is not what the feed says.
    """
    as_json = _is_json(request)
    frames = []
    with client(request) as connection:
        for number, content in enumerate(_pages(request, connection)):
            if number >= _MOST_PAGES:
                raise DataError(f"{request.shown}: more than {_MOST_PAGES} pages; the paging does not end")
            frame = _records(request, content) if as_json else _cells(request, content)
            if frame.is_empty() and number:
                break
            frames.append(frame)
    return pl.concat(frames, how="vertical_relaxed")


def _is_json(request: Request) -> bool:
    named = request.options.get("format")
    return named == "json" if named else ".csv" not in request.uri.split("?")[0].lower()


def _pages(request: Request, connection: httpx.Client) -> Iterator[bytes]:
    address = request.uri.replace("{since}", _iso(request.since)).replace("{until}", _iso(request.until))
    if "{page}" in address:
        for number in range(1, _MOST_PAGES + 2):
            yield fetch(request, connection, address.replace("{page}", str(number)))
        return
    following = request.options.get("next")
    seen = set()
    while address and address not in seen:
        seen.add(address)
        content = fetch(request, connection, address)
        yield content
        link = _at(parse(request, content), following) if following else None
        address = urljoin(address, str(link)) if link else ""


def _cells(request: Request, content: bytes) -> pl.DataFrame:
    try:
        table = pl.read_csv(io.BytesIO(content), infer_schema=False)
    except pl.exceptions.NoDataError:
        return pl.DataFrame(schema=dict.fromkeys(request.columns, pl.String))
    except pl.exceptions.PolarsError as error:
        what = str(error).splitlines()[0]
        raise DataError(f"{request.shown}: the answer is not CSV: {what}") from None
    missing = [column for column in request.columns if column not in table.columns]
    if missing:
        found = ", ".join(map(repr, table.columns[:20]))
        raise DataError(f"{request.shown}: the answer has no column {missing[0]!r}; it has {found}")
    return table.select(request.columns)


def _records(request: Request, content: bytes) -> pl.DataFrame:
    path = request.options.get("records")
    records = _at(parse(request, content), path) if path else parse(request, content)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        where = f"at {path!r}" if path else "in the answer; options.records says where it is"
        raise DataError(f"{request.shown}: there is no list of records {where}")
    columns = {}
    for name in request.columns:
        cells = [_at(record, name) for record in records]
        if records and not any(name.split(".")[0] in record for record in records):
            raise DataError(
                f"{request.shown}: no record has {name!r}; the first has {', '.join(map(repr, records[0]))}"
            )
        columns[name] = _column(name, cells)
    return pl.DataFrame(columns)


def _column(name: str, cells: list[Any]) -> pl.Series:
    """One type a column: numbers where all are, else text, which the checks then judge cell by cell."""
    known = [cell for cell in cells if cell is not None]
    if known and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in known):
        return pl.Series(name, [None if cell is None else float(cell) for cell in cells], dtype=pl.Float64)
    return pl.Series(name, [None if cell is None else str(cell) for cell in cells], dtype=pl.String)


def _at(content: Any, path: str) -> Any:
    """What lies at a dotted path, None where there is nothing."""
    for part in path.split("."):
        if isinstance(content, dict):
            content = content.get(part)
        elif isinstance(content, list) and part.isdigit() and int(part) < len(content):
            content = content[int(part)]
        else:
            return None
    return content


def _iso(time: datetime) -> str:
    return quote(time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), safe="")
