"""Prices of the ECB, from a server that answers as its data portal documents."""

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


def test_a_request_a_series(web, request_for):
    web.give("/service/data/EXR/D.USD.EUR.SP00.A", csv(SERIES["dollar"], ("2018-08-31", "1.165"), ("2018-09-03", "")))
    web.give("/service/data/EXR/D.JPY.EUR.SP00.A", csv(SERIES["yen"], ("2018-08-31", "129.05")))
    assert ecb.read(request_for()).rows() == [
        ("dollar", "2018-08-31", "1.165"), ("dollar", "2018-09-03", None), ("yen", "2018-08-31", "129.05"),
    ]  # fmt: skip
    # The 2nd of September begins in Frankfurt two hours before it does in Greenwich.
    asked = "format=csvdata&detail=dataonly&startPeriod=2018-09-01&endPeriod=2018-09-02"
    assert web.asked == [f"/service/data/EXR/{key}?{asked}" for key in SERIES.values()]


def test_what_is_not_there_is_an_error(web, request_for):
    where = "/service/data/EXR/D.USD.EUR.SP00.A"
    one = {"dollar": SERIES["dollar"]}
    for answer in ((404, {}, b"No results found."), (200, {}, b"")):
        web.give(where, answer)
        with pytest.raises(DataError, match=r"EXR/D.USD.EUR.SP00.A has nothing from 2018-09-01 on"):
            ecb.read(request_for(one))
    web.give(
        where, csv(SERIES["dollar"], ("2018-09-03", "1")) + csv(SERIES["yen"], ("2018-09-03", "1")).split(b"\n")[1]
    )
    with pytest.raises(DataError, match="names several series"):
        ecb.read(request_for(one))
    web.give(where, b"a,b\n1,2\n")
    with pytest.raises(DataError, match="is not SDMX-CSV"):
        ecb.read(request_for(one))
