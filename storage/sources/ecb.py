"""Daily market prices of the European Central Bank: exchange rates, interest rates and yields.

API: https://data.ecb.europa.eu/help/api/data. It needs no key and returns SDMX-CSV. Each series is one request.
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
from storage.sources.fetch import RefusedError, fetch, join_address, open_client
from storage.sources.request import SERIES_ID, VALID_TIME, Request

_FRANKFURT = ZoneInfo("Europe/Berlin")
_KEY, _PERIOD, _VALUE = "KEY", "TIME_PERIOD", "OBS_VALUE"


def default_address(options: Mapping[str, Any], has_key: bool) -> str:
    """Return the address of the ECB's API."""
    return "https://data-api.ecb.europa.eu/service"


def read(request: Request) -> pl.DataFrame:
    """Return series_id, valid_time (a date as text) and the value as text. Days without a price have no row.

    Raises:
        DataError: A request fails, or a series has no prices since `request.since`.
    """
    with open_client(request) as client:
        tables = [_read_series(request, client, name, key) for name, key in request.options["series"].items()]
    return pl.concat(tables).select(request.columns)


def _read_series(request: Request, client: httpx.Client, name: str, key: str) -> pl.DataFrame:
    flow = request.options["flow"]
    address = join_address(request.uri, f"data/{flow}/{key}")
    period = {"startPeriod": _local_date(request.since), "endPeriod": _local_date(request.until)}
    # 1970 is the default of `start`, and no date that the reader has chosen.
    since = f" from {period['startPeriod']} on" if request.since.year > 1970 else ""
    no_prices = (
        f"{request.redacted_uri}: {flow}/{key} has nothing{since}; check the key, and whether the series has ended"
    )
    try:
        body = fetch(request, client, address, {"format": "csvdata", "detail": "dataonly", **period})
    except RefusedError as error:
        if error.status == 404:
            raise DataError(no_prices) from None
        raise
    try:
        table = pl.read_csv(io.BytesIO(body), infer_schema=False).select(_KEY, _PERIOD, _VALUE)
    except pl.exceptions.NoDataError:
        raise DataError(no_prices) from None
    except pl.exceptions.PolarsError as error:
        problem = str(error).splitlines()[0]
        raise DataError(f"{request.redacted_uri}: {flow}/{key}: the response is not SDMX-CSV: {problem}") from None
    if table[_KEY].n_unique() > 1:
        raise DataError(
            f"{request.redacted_uri}: {flow}/{key} matches several series; give the complete key of each series"
        )
    return table.select(
        pl.lit(name).alias(SERIES_ID), pl.col(_PERIOD).alias(VALID_TIME),
        pl.col(_VALUE).alias(request.values[0]),
    )  # fmt: skip


def _local_date(time: datetime) -> str:
    return time.astimezone(_FRANKFURT).strftime("%Y-%m-%d")
