"""Energy data of the U.S. Energy Information Administration: API version 2.

https://www.eia.gov/opendata/documentation.php. Any route with a time: natural gas by day, week or month, and the
hourly electricity of form EIA-930, whose hours are named by their END, in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import polars as pl

from storage.schemas import DataError
from storage.sources.fetch import client, fetch, join_address, parse
from storage.sources.request import SERIES_ID, VALID_TIME, Request

_PAGE = 5000  # the most rows that one answer holds
_HOUR = timedelta(hours=1)
_PERIODS = {"hourly": "%Y-%m-%dT%H", "daily": "%Y-%m-%d", "weekly": "%Y-%m-%d", "monthly": "%Y-%m"}


def address(options: Mapping[str, Any], keyed: bool) -> str:
    """Where the EIA serves it."""
    return "https://api.eia.gov/v2"


def read(request: Request) -> pl.DataFrame:
    """series_id, valid_time (UTC; a date but for hours), the value as text.

    Raises DataError when the EIA cannot be reached or refuses, or its answer has no such columns.
    """
    options = request.options
    series, data = options["series"], options["data"]
    with client(request) as connection:
        rows = [row for page in _pages(request, connection) for row in page]
    cells = {name: [_text(row.get(name)) for row in rows] for name in (series, "period", data)}
    for name, column in cells.items():
        if rows and not any(name in row for row in rows):
            found = ", ".join(map(repr, rows[0]))
            raise DataError(f"{request.shown}: {options['route']} has no column {name!r}; it has {found}")
        assert len(column) == len(rows)
    ids = set(cells[series])
    if SERIES_ID not in request.columns and len(ids) > 1:
        raise DataError(
            f"{request.shown}: {options['route']} gives {len(ids)} series; narrow its facets, or give "
            'series_id = "series_id"'
        )
    table = pl.DataFrame(
        {SERIES_ID: cells[series], VALID_TIME: cells["period"], request.values[0]: cells[data]},
        schema_overrides=dict.fromkeys((SERIES_ID, VALID_TIME, request.values[0]), pl.String),
    )
    return table.with_columns(_start(options["frequency"])).select(request.columns)


def _start(frequency: str) -> pl.Expr:
    """The start of each period as a text that the checks read."""
    period = pl.col(VALID_TIME)
    if frequency == "hourly":
        end = (period + ":00").str.to_datetime("%Y-%m-%dT%H:%M", strict=False, time_zone="UTC", time_unit="us")
        return end - _HOUR
    return period + "-01" if frequency == "monthly" else period


def _pages(request: Request, connection: httpx.Client) -> Iterator[list[dict[str, Any]]]:
    options = request.options
    where = join_address(request.uri, f"{options['route']}/data/")
    hourly = options["frequency"] == "hourly"
    form, shift = _PERIODS[options["frequency"]], _HOUR if hourly else timedelta(0)
    asked: dict[str, Any] = {
        "api_key": request.api_key or "", "frequency": options["frequency"], "data[0]": options["data"],
        "start": _period(request.since + shift, form), "end": _period(request.until + shift, form),
        # Without an order two pages may hold the same row.
        "sort[0][column]": "period", "sort[0][direction]": "asc",
        "sort[1][column]": options["series"], "sort[1][direction]": "asc",
        **{f"facets[{facet}][]": list(values) for facet, values in options["facets"].items()},
    }  # fmt: skip
    read = 0
    while True:
        content = fetch(request, connection, where, asked | {"offset": read, "length": _PAGE})
        page, total = _page(request, content)
        read += len(page)
        yield page
        if read >= total:
            return
        if not page:
            raise DataError(f"{request.shown}: the pages end after {read} of {total} rows; try again")


def _page(request: Request, content: bytes) -> tuple[list[dict[str, Any]], int]:
    answer = parse(request, content)
    response = answer.get("response") if isinstance(answer, dict) else None
    try:
        page, total = response["data"], int(response["total"])  # type: ignore[index]
        if all(isinstance(row, dict) for row in page):
            return page, total
    except (TypeError, KeyError, ValueError):
        pass
    raise DataError(f"{request.shown}: the answer is not one of the EIA's: it has no response with data and total")


def _text(cell: Any) -> str | None:
    return None if cell is None else str(cell)


def _period(time: datetime, form: str) -> str:
    return time.astimezone(UTC).strftime(form)
