"""Prices of the ECB, from a server with the documented responses of its data portal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage.schemas import DataError
from storage.sources import ecb
from storage.sources.request import Request
from tests.support.source_answers import csv
from tests.support.web_server import Response, Web

COLUMNS = ["series_id", "valid_time", "y"]
SERIES = {"dollar": "D.USD.EUR.SP00.A", "yen": "D.JPY.EUR.SP00.A"}


@pytest.fixture
def request_for(web: Web, request_of: Callable[..., Request]) -> Callable[..., Request]:
    def make(series: dict[str, str] = SERIES, columns: list[str] = COLUMNS) -> Request:
        return request_of(f"{web.address}/service", columns, flow="EXR", series=series)

    return make


def test_each_series_is_one_request(web: Web, request_for: Callable[..., Request]) -> None:
    web.respond(
        "/service/data/EXR/D.USD.EUR.SP00.A", csv(SERIES["dollar"], ("2018-08-31", "1.165"), ("2018-09-03", ""))
    )
    web.respond("/service/data/EXR/D.JPY.EUR.SP00.A", csv(SERIES["yen"], ("2018-08-31", "129.05")))
    assert ecb.read(request_for()).rows() == [
        ("dollar", "2018-08-31", "1.165"), ("dollar", "2018-09-03", None), ("yen", "2018-08-31", "129.05"),
    ]  # fmt: skip
    # In Frankfurt the 2nd of September begins at 22:00 UTC of the 1st.
    query = "format=csvdata&detail=dataonly&startPeriod=2018-09-01&endPeriod=2018-09-02"
    assert web.requests == [f"/service/data/EXR/{key}?{query}" for key in SERIES.values()]


def test_missing_prices_are_an_error(web: Web, request_for: Callable[..., Request]) -> None:
    path = "/service/data/EXR/D.USD.EUR.SP00.A"
    one = {"dollar": SERIES["dollar"]}
    responses: list[Response] = [(404, {}, b"No results found."), (200, {}, b"")]
    for response in responses:
        web.respond(path, response)
        with pytest.raises(DataError, match=r"EXR/D.USD.EUR.SP00.A has nothing from 2018-09-01 on"):
            ecb.read(request_for(one))
    web.respond(
        path, csv(SERIES["dollar"], ("2018-09-03", "1")) + csv(SERIES["yen"], ("2018-09-03", "1")).split(b"\n")[1]
    )
    with pytest.raises(DataError, match="matches several series"):
        ecb.read(request_for(one))
    web.respond(path, b"a,b\n1,2\n")
    with pytest.raises(DataError, match="is not SDMX-CSV"):
        ecb.read(request_for(one))
