"""Load, its day-ahead forecast, and day-ahead prices of the ENTSO-E Transparency Platform.

https://transparencyplatform.zendesk.com, "RESTful API". One request an area and year. What is published on the day
before delivery says so: it counts as known at `published`, Brussels time, of that day, as Regulation (EU) 543/2013
wants it of the load forecast (articles 6 and 12) and the day-ahead auction's results are out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

import httpx
import polars as pl

from storage.schemas import INSTANT
from storage.sources.entsoe_areas import eic
from storage.sources.entsoe_document import values
from storage.sources.fetch import Refused, client, fetch
from storage.sources.request import AVAILABLE_AT, SERIES_ID, VALID_TIME, Request

_BRUSSELS = "Europe/Brussels"
_FIRST = datetime(2014, 12, 1, tzinfo=UTC)  # the platform has nothing older
_YEAR = timedelta(days=365)  # the most that one request may span
_AHEAD = timedelta(days=2)  # prices of tomorrow are there before tomorrow
_MICROS = {"15m": 900_000_000, "30m": 1_800_000_000, "1h": 3_600_000_000}

# What is asked for each document, and the parameters that name the area.
_ASKED: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "load": ({"documentType": "A65", "processType": "A16"}, ("outBiddingZone_Domain",)),
    "load_forecast": ({"documentType": "A65", "processType": "A01"}, ("outBiddingZone_Domain",)),
    "price": ({"documentType": "A44", "contract_MarketAgreement.type": "A01"}, ("in_Domain", "out_Domain")),
}
_PUBLISHED = {"load_forecast": time(10), "price": time(13)}


def address(options: Mapping[str, Any], keyed: bool) -> str:
    """Where ENTSO-E serves it."""
    return "https://web-api.tp.entsoe.eu/api"


def read(request: Request) -> pl.DataFrame:
    """series_id (the area as the feed names it), valid_time (UTC), available_at, the value.

    Raises DataError when ENTSO-E cannot be reached or refuses, for another reason than that it has no data.
    """
    name = request.values[0]
    schema = {SERIES_ID: pl.String(), VALID_TIME: INSTANT, name: pl.Float64(), "length": pl.Int64()}
    with client(request) as connection:
        rows = [row for area in request.options["areas"] for row in _area(request, connection, area)]
    table = pl.DataFrame(rows, schema=schema, orient="row")
    if request.options["resolution"]:
        table = _of_one_length(table, name, _MICROS[request.options["resolution"]])
    return table.with_columns(_known(request)).select(request.columns)


def _area(request: Request, connection: httpx.Client, area: str) -> Iterator[tuple[str, datetime, float, int]]:
    options = request.options
    document, domains = _ASKED[options["document"]]
    first = max(request.since, _FIRST)
    last = request.until + (_AHEAD if options["document"] != "load" else timedelta(0))
    while first < last:
        end = min(last, first + _YEAR)
        asked = document | dict.fromkeys(domains, eic(area)) | {
            "periodStart": _minute(first), "periodEnd": _minute(end), "securityToken": request.api_key or "",
        }  # fmt: skip
        try:
            content = fetch(request, connection, request.uri, asked)
        except Refused as error:
            # A refusal is a document too: that there are no data is one of its reasons.
            if b"Acknowledgement_MarketDocument" not in error.body:
                raise
            content = error.body
        for start, value, length in values(request, content, options["sequence"]):
            yield area, start, value, length
        first = end


def _of_one_length(table: pl.DataFrame, name: str, length: int) -> pl.DataFrame:
    """Values of one length, in microseconds: finer ones averaged where all are there, coarser ones repeated."""
    start = pl.col(VALID_TIME).dt.epoch("us")
    repeats = pl.max_horizontal(pl.col("length") // length, 1)
    coarser = table.with_columns(pl.int_ranges(0, repeats).alias("n")).explode("n", empty_as_null=False)
    moved = coarser.with_columns((start + pl.col("n") * length).alias("start"))
    grouped = moved.group_by(SERIES_ID, pl.col("start") // length, "length", maintain_order=True).agg(
        pl.col(name).mean(), pl.len().alias("parts")
    )
    whole = grouped.filter((pl.col("length") >= length) | (pl.col("parts") * pl.col("length") == length))
    return whole.with_columns((pl.col("start") * length).cast(INSTANT).alias(VALID_TIME))


def _known(request: Request) -> pl.Expr:
    document = request.options["document"]
    if document == "load":
        return pl.lit(None, dtype=INSTANT).alias(AVAILABLE_AT)
    at = request.options["published"] or _PUBLISHED[document]
    day = pl.col(VALID_TIME).dt.convert_time_zone(_BRUSSELS).dt.replace_time_zone(None).dt.truncate("1d")
    known = day - timedelta(days=1) + timedelta(hours=at.hour, minutes=at.minute)
    return (
        known.dt.replace_time_zone(_BRUSSELS, ambiguous="latest", non_existent="null")
        .dt.convert_time_zone("UTC")
        .alias(AVAILABLE_AT)
    )


def _minute(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y%m%d%H%M")
