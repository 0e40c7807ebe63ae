"""Prices of the ECB, from a server with the documented responses of its data portal."""

from __future__ import annotations

import pytest

from storage.schemas import DataError
from storage.sources import ecb
from tests.support.source_answers import csv

COLUMNS = ["series_id", "valid_time", "y"]
SERIES = {"dollar": "D.USD.EUR.SP00.A", "yen": "D.JPY.EUR.SP00.A"}


@pytest.fixture
def request_for(web, request_of):
    def make(series=SERIES, columns=COLUMNS):
        return request_of(f"{web.address}/service", columns, flow="EXR", series=series)

    return make


def test_each_series_is_one_request(web, request_for):
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


def test_missing_prices_are_an_error(web, request_for):
    path = "/service/data/EXR/D.USD.EUR.SP00.A"
    one = {"dollar": SERIES["dollar"]}
    for response in ((404, {}, b"No results found."), (200, {}, b"")):
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
