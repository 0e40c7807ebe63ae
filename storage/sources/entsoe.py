"""Load, day-ahead load forecasts and day-ahead prices from the ENTSO-E Transparency Platform.

API: https://transparencyplatform.zendesk.com, "RESTful API". Each area and year is one request. Load forecasts and
prices are published on the day before delivery. Their rows count as known at the option `published` of that day,
Brussels time. Its default for load forecasts is the deadline of Regulation (EU) 543/2013, articles 6 and 12. Its
default for prices is a time at which the results of the day-ahead auction are public.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

import httpx
import polars as pl

from storage.schemas import INSTANT
from storage.sources.entsoe_areas import eic
from storage.sources.entsoe_document import read_values
from storage.sources.fetch import RefusedError, fetch, open_client
from storage.sources.request import AVAILABLE_AT, SERIES_ID, VALID_TIME, Request

_BRUSSELS = "Europe/Brussels"
_PLATFORM_START = datetime(2014, 12, 1, tzinfo=UTC)
_MAX_PERIOD = timedelta(days=365)  # the API's limit per request
_PUBLICATION_LEAD = timedelta(days=2)  # tomorrow's prices are published today
_MICROSECONDS = {"15m": 900_000_000, "30m": 1_800_000_000, "1h": 3_600_000_000}

# The parameters of each document, and the names of the parameters for the area.
_PARAMETERS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "load": ({"documentType": "A65", "processType": "A16"}, ("outBiddingZone_Domain",)),
    "load_forecast": ({"documentType": "A65", "processType": "A01"}, ("outBiddingZone_Domain",)),
    "price": ({"documentType": "A44", "contract_MarketAgreement.type": "A01"}, ("in_Domain", "out_Domain")),
}
_PUBLISHED = {"load_forecast": time(10), "price": time(13)}


def default_address(options: Mapping[str, Any], has_key: bool) -> str:
    """Return the address of ENTSO-E's API."""
    return "https://web-api.tp.entsoe.eu/api"


def read(request: Request) -> pl.DataFrame:
    """Return series_id (the area as the feed names it), valid_time (UTC), available_at and the value.

    Raises:
        DataError: A request fails for another reason than missing data.
    """
    name = request.values[0]
    schema = {SERIES_ID: pl.String(), VALID_TIME: INSTANT, name: pl.Float64(), "length": pl.Int64()}
    with open_client(request) as client:
        rows = [row for area in request.options["areas"] for row in _read_area(request, client, area)]
    table = pl.DataFrame(rows, schema=schema, orient="row")
    if request.options["resolution"]:
        table = _resample(table, name, _MICROSECONDS[request.options["resolution"]])
    return table.with_columns(_available_at(request)).select(request.columns)


def _read_area(request: Request, client: httpx.Client, area: str) -> Iterator[tuple[str, datetime, float, int]]:
    """Yield area, start, value and length in microseconds of each period."""
    options = request.options
    document, domains = _PARAMETERS[options["document"]]
    start = max(request.since, _PLATFORM_START)
    last = request.until + (_PUBLICATION_LEAD if options["document"] != "load" else timedelta(0))
    while start < last:
        end = min(last, start + _MAX_PERIOD)
        parameters = document | dict.fromkeys(domains, eic(area)) | {
            "periodStart": _minute(start), "periodEnd": _minute(end), "securityToken": request.api_key or "",
        }  # fmt: skip
        try:
            body = fetch(request, client, request.uri, parameters)
        except RefusedError as error:
            # Missing data are an error status too, with a document that states the reason.
            if b"Acknowledgement_MarketDocument" not in error.body:
                raise
            body = error.body
        for period_start, value, length in read_values(request, body, options["sequence"], area):
            yield area, period_start, value, length
        start = end


def _resample(table: pl.DataFrame, name: str, length: int) -> pl.DataFrame:
    """Return values of one period length in microseconds.

    Shorter periods are averaged if all of them have a value. Longer periods are repeated.
    """
    start = pl.col(VALID_TIME).dt.epoch("us")
    repeats = pl.max_horizontal(pl.col("length") // length, 1)
    repeated = table.with_columns(pl.int_ranges(0, repeats).alias("n")).explode("n", empty_as_null=False)
    shifted = repeated.with_columns((start + pl.col("n") * length).alias("start"))
    grouped = shifted.group_by(SERIES_ID, pl.col("start") // length, "length", maintain_order=True).agg(
        pl.col(name).mean(), pl.len().alias("parts")
    )
    complete = grouped.filter((pl.col("length") >= length) | (pl.col("parts") * pl.col("length") == length))
    return complete.with_columns((pl.col("start") * length).cast(INSTANT).alias(VALID_TIME))


def _available_at(request: Request) -> pl.Expr:
    """Return an expression for the time at which each row became known, null for load."""
    document = request.options["document"]
    if document == "load":
        return pl.lit(None, dtype=INSTANT).alias(AVAILABLE_AT)
    published = request.options["published"] or _PUBLISHED[document]
    day = pl.col(VALID_TIME).dt.convert_time_zone(_BRUSSELS).dt.replace_time_zone(None).dt.truncate("1d")
    local = day - timedelta(days=1) + timedelta(hours=published.hour, minutes=published.minute)
    return (
        local.dt.replace_time_zone(_BRUSSELS, ambiguous="latest", non_existent="null")
        .dt.convert_time_zone("UTC")
        .alias(AVAILABLE_AT)
    )


def _minute(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y%m%d%H%M")
