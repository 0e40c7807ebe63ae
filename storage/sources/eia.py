"""Energy data of the U.S. Energy Information Administration, API version 2.

API: https://www.eia.gov/opendata/documentation.php. All routes with a time are supported: natural gas by day, week or
month, and the hourly electricity of form EIA-930, which names each hour by its END, in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import polars as pl

from storage.schemas import DataError
from storage.schemas.suggestions import shown_names
from storage.sources.fetch import fetch, join_address, open_client, parse
from storage.sources.request import SERIES_ID, VALID_TIME, Request

_PAGE_ROWS = 5000  # the API's limit per response
_HOUR = timedelta(hours=1)
_PERIOD_FORMATS = {"hourly": "%Y-%m-%dT%H", "daily": "%Y-%m-%d", "weekly": "%Y-%m-%d", "monthly": "%Y-%m"}


def default_address(options: Mapping[str, Any], has_key: bool) -> str:
    """Return the address of the EIA's API."""
    return "https://api.eia.gov/v2"


def read(request: Request) -> pl.DataFrame:
    """Return series_id, valid_time (UTC for hours, otherwise a date as text) and the value as text.

    Raises:
        DataError: A request fails, the route lacks one of the feed's columns, or a series and period have several rows.
    """
    options = request.options
    series, data = options["series"], options["data"]
    with open_client(request) as client:
        rows = [row for page in _pages(request, client) for row in page]
    cells = {name: [_to_text(row.get(name)) for row in rows] for name in (series, "period", data)}
    for name in cells:
        if rows and not any(name in row for row in rows):
            present = shown_names(rows[0])
            raise DataError(f"{request.redacted_uri}: {options['route']} has no column {name!r}; it has {present}")
    rows = _one_row_per_key(request, rows)
    cells = {name: [_to_text(row.get(name)) for row in rows] for name in cells}
    ids = set(cells[series])
    if SERIES_ID not in request.columns and len(ids) > 1:
        raise DataError(
            f"{request.redacted_uri}: {options['route']} has {len(ids)} series; narrow the facets, or set "
            'series_id = "series_id"'
        )
    table = pl.DataFrame(
        {SERIES_ID: cells[series], VALID_TIME: cells["period"], request.values[0]: cells[data]},
        schema_overrides=dict.fromkeys((SERIES_ID, VALID_TIME, request.values[0]), pl.String),
    )
    return table.with_columns(_period_start(options["frequency"])).select(request.columns)


def _one_row_per_key(request: Request, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without those that two pages have in common.

    Raises:
        DataError: A series and period have several rows. The message names the columns in which they differ.
    """
    options = request.options
    first: dict[tuple[str | None, str | None], dict[str, Any]] = {}
    repeated: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for row in rows:
        other = first.setdefault((_to_text(row.get(options["series"])), _to_text(row.get("period"))), row)
        if other is not row and other != row:
            repeated.append((other, row))
    if not repeated:
        return list(first.values())
    row = repeated[0][0]
    where = f"{len(repeated):,} further rows of a series and period, first of {row[options['series']]}, {row['period']}"
    columns = _differing_columns(repeated) - {options["data"]}
    # A facet comes with a column of its name or description, which is no facet.
    facets = sorted(name for name in columns if name.rpartition("-")[0] not in columns) or sorted(columns)
    if not facets:
        raise DataError(f"{request.redacted_uri}: {options['route']} has {where}, with different values; try again")
    fixed = f"facets = {{ {facets[0]} = [{_to_text(row.get(facets[0]))!r}] }}".replace("'", '"')
    raise DataError(
        f"{request.redacted_uri}: {options['route']} has {where}; they differ in {', '.join(map(repr, facets))}. Fix "
        f"it in options.facets, such as {fixed}"
    )


def _differing_columns(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> set[str]:
    return {name for one, other in pairs for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def _period_start(frequency: str) -> pl.Expr:
    """Return an expression for the start of each period."""
    period = pl.col(VALID_TIME)
    if frequency == "hourly":
        end = (period + ":00").str.to_datetime("%Y-%m-%dT%H:%M", strict=False, time_zone="UTC", time_unit="us")
        return end - _HOUR
    return period + "-01" if frequency == "monthly" else period


def _pages(request: Request, client: httpx.Client) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each page."""
    options = request.options
    address = join_address(request.uri, f"{options['route']}/data/")
    period_format = _PERIOD_FORMATS[options["frequency"]]
    shift = _HOUR if options["frequency"] == "hourly" else timedelta(0)
    parameters: dict[str, Any] = {
        "api_key": request.api_key or "", "frequency": options["frequency"], "data[0]": options["data"],
        "start": _period(request.since + shift, period_format), "end": _period(request.until + shift, period_format),
        # Without an order two pages may contain the same row.
        "sort[0][column]": "period", "sort[0][direction]": "asc",
        "sort[1][column]": options["series"], "sort[1][direction]": "asc",
        **{f"facets[{facet}][]": list(values) for facet, values in options["facets"].items()},
    }  # fmt: skip
    offset = 0
    while True:
        body = fetch(request, client, address, parameters | {"offset": offset, "length": _PAGE_ROWS})
        page, total = _parse_page(request, body)
        offset += len(page)
        yield page
        if offset >= total:
            return
        if not page:
            raise DataError(f"{request.redacted_uri}: the pages end after {offset} of {total} rows; try again")


def _parse_page(request: Request, body: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of a page and the number of rows on all pages."""
    content = parse(request, body)
    response = content.get("response") if isinstance(content, dict) else None
    try:
        page, total = response["data"], int(response["total"])  # type: ignore[index]
        if all(isinstance(row, dict) for row in page):
            return page, total
    except (TypeError, KeyError, ValueError):
        pass
    raise DataError(f"{request.redacted_uri}: the API has no response with data and total; check the uri and the route")


def _to_text(cell: Any) -> str | None:
    return None if cell is None else str(cell)


def _period(time: datetime, period_format: str) -> str:
    return time.astimezone(UTC).strftime(period_format)
