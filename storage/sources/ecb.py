"""Daily market prices of the European Central Bank: exchange rates, interest rates, yields.

https://data.ecb.europa.eu/help/api/data: no key, and CSV as the SDMX standard defines it. One request a series.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import polars as pl

from storage.schemas import DataError
from storage.sources.fetch import Refused, client, fetch, join_address
from storage.sources.request import SERIES_ID, VALID_TIME, Request

_FRANKFURT = ZoneInfo("Europe/Berlin")
_KEY, _PERIOD, _VALUE = "KEY", "TIME_PERIOD", "OBS_VALUE"


def address(options: Mapping[str, Any], keyed: bool) -> str:
    """Where the ECB serves it."""
    return "https://data-api.ecb.europa.eu/service"


def read(request: Request) -> pl.DataFrame:
    """series_id, valid_time (a date), the value as text; days without a price are not there.

    Raises DataError when the ECB cannot be reached or refuses, or has nothing under a key since `since`.
    """
    with client(request) as connection:
        frames = [_series(request, connection, name, key) for name, key in request.options["series"].items()]
    return pl.concat(frames).select(request.columns)


def _series(request: Request, connection: httpx.Client, name: str, key: str) -> pl.DataFrame:
    flow = request.options["flow"]
    where = join_address(request.uri, f"data/{flow}/{key}")
    period = {"startPeriod": _day(request.since), "endPeriod": _day(request.until)}
    try:
        content = fetch(request, connection, where, {"format": "csvdata", "detail": "dataonly", **period})
    except Refused as error:
        if error.status == 404:
            raise DataError(f"{request.shown}: {_nothing(flow, key, period)}") from None
        raise
    try:
        table = pl.read_csv(io.BytesIO(content), infer_schema=False)
        found = table.select(_KEY, _PERIOD, _VALUE)
    except pl.exceptions.NoDataError:
        raise DataError(f"{request.shown}: {_nothing(flow, key, period)}") from None
    except pl.exceptions.PolarsError as error:
        what = str(error).splitlines()[0]
        raise DataError(f"{request.shown}: {flow}/{key}: the answer is not SDMX-CSV: {what}") from None
    if found[_KEY].n_unique() > 1:
        raise DataError(f"{request.shown}: {flow}/{key} names several series; name each by its whole key")
    return found.select(
        pl.lit(name).alias(SERIES_ID), pl.col(_PERIOD).alias(VALID_TIME),
        pl.col(_VALUE).alias(request.values[0]),
    )  # fmt: skip


def _nothing(flow: str, key: str, period: Mapping[str, str]) -> str:
    return f"{flow}/{key} has nothing from {period['startPeriod']} on: the key is wrong, or the series has ended"


def _day(time: datetime) -> str:
    return time.astimezone(_FRANKFURT).strftime("%Y-%m-%d")
