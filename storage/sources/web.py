"""Feeds in CSV or JSON over HTTP(S), in one page or several.

The address may contain `{since}` and `{until}` (ISO 8601, UTC), and `{page}`: 1, 2, ... until a page is empty. In JSON,
dotted paths lead to the list of records and to the address of the next page.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
import polars as pl

from storage.schemas import DataError, to_series_id
from storage.schemas.suggestions import shown_names
from storage.sources.csv_text import CsvForm, read_csv
from storage.sources.fetch import fetch, follow, open_client, parse
from storage.sources.request import Request


def read(request: Request) -> pl.DataFrame:
    """Return the requested columns of all pages. CSV cells stay text.

    Raises:
        DataError: A request fails, or the response does not have the feed's format or columns.
    """
    is_json = _is_json(request)
    tables = []
    with open_client(request) as client:
        for number, body in enumerate(_pages(request, client)):
            table = _read_json(request, body) if is_json else _read_csv(request, body)
            if table.is_empty() and number:
                break
            tables.append(table)
    return pl.concat(tables, how="vertical_relaxed")


def _is_json(request: Request) -> bool:
    name = request.options.get("format")
    return name == "json" if name else ".csv" not in request.uri.split("?")[0].lower()


def _pages(request: Request, client: httpx.Client) -> Iterator[bytes]:
    """Yield the body of each page."""
    address = request.uri.replace("{since}", _to_iso(request.since)).replace("{until}", _to_iso(request.until))
    if "{page}" in address:
        for number in count(1):
            request.limits.count_page(number)
            yield fetch(request, client, address.replace("{page}", str(number)))
        return
    next_path = request.options.get("next")
    visited = set()
    while address and address not in visited:
        visited.add(address)
        request.limits.count_page(len(visited))
        body = fetch(request, client, address)
        yield body
        link = _find(parse(request, body), next_path) if next_path else None
        address = follow(request, address, str(link), "next page") if link else ""


def _read_csv(request: Request, body: bytes) -> pl.DataFrame:
    # The body may be a compressed file whatever the transfer did, and the reader unpacks it.
    request.limits.count_if_packed(body)
    try:
        return read_csv(body, request.redacted_uri, request.columns, CsvForm.of(request.options))
    except pl.exceptions.NoDataError:
        return pl.DataFrame(schema=dict.fromkeys(request.columns, pl.String))


def _read_json(request: Request, body: bytes) -> pl.DataFrame:
    path = request.options.get("records")
    content = parse(request, body)
    records = _find(content, path) if path else content
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        where = f"at {path!r}" if path else "in the response; set its path in options.records"
        raise DataError(f"{request.redacted_uri}: there is no list of records {where}")
    columns = {}
    for name in request.columns or (records[0] if records else ()):
        cells = [_find(record, name) for record in records]
        if records and not any(name.split(".")[0] in record for record in records):
            raise DataError(f"{request.redacted_uri}: no record has {name!r}; the first has {shown_names(records[0])}")
        columns[name] = _to_ids(request, name, cells) if name == request.series_id else _to_column(name, cells)
    return pl.DataFrame(columns)


def _to_ids(request: Request, name: str, cells: list[Any]) -> pl.Series:
    """Return ids as text with all their digits, which a column of floating-point numbers would not keep."""
    try:
        return pl.Series(name, [to_series_id(cell) for cell in cells], dtype=pl.String)
    except DataError as error:
        raise DataError(f"{request.redacted_uri}: {error}") from None


def _to_column(name: str, cells: list[Any]) -> pl.Series:
    """Return a column of numbers if all cells are numbers, otherwise of text, which the checks convert cell by cell."""
    present = [cell for cell in cells if cell is not None]
    if present and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in present):
        return pl.Series(name, [None if cell is None else float(cell) for cell in cells], dtype=pl.Float64)
    return pl.Series(name, [None if cell is None else str(cell) for cell in cells], dtype=pl.String)


def _find(content: Any, path: str) -> Any:
    """Return the value at a dotted path of a JSON value, or None."""
    for part in path.split("."):
        if isinstance(content, dict):
            content = content.get(part)
        elif isinstance(content, list) and part.isdigit() and int(part) < len(content):
            content = content[int(part)]
        else:
            return None
    return content


def _to_iso(time: datetime) -> str:
    return quote(time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), safe="")
