"""Data of the EIA, from a server with the documented responses of the API's second version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from storage.schemas import DataError
from storage.sources import eia
from storage.sources.request import Request
from tests.support.source_answers import answer, hour
from tests.support.web_server import Response, Web

COLUMNS = ["series_id", "valid_time", "y"]
DEMAND = {
    "route": "electricity/rto/region-data", "frequency": "hourly", "data": "value", "series": "respondent",
    "facets": {"respondent": ("CISO", "PJM"), "type": ("D",)},
}  # fmt: skip
GAS = {
    "route": "natural-gas/pri/fut", "frequency": "daily", "data": "value", "series": "series",
    "facets": {"series": ("RNGWHHD",)},
}  # fmt: skip


@pytest.fixture
def request_for(web: Web, request_of: Callable[..., Request]) -> Callable[..., Request]:
    def make(options: dict[str, Any], columns: list[str] = COLUMNS) -> Request:
        return replace(request_of(f"{web.address}/v2/", columns, **options), api_key="planted-s3cret")

    return make


def test_hours_are_named_by_their_end(web: Web, request_for: Callable[..., Request]) -> None:
    rows = hour("CISO", "2018-09-01T01", "25000"), hour("PJM", "2018-09-01T01", None)
    web.respond("/v2/electricity/rto/region-data/data/", answer(*rows))
    read = eia.read(request_for(DEMAND))
    assert [(name, time.isoformat(), y) for name, time, y in read.rows()] == [
        ("CISO", "2018-09-01T00:00:00+00:00", "25000"),
        ("PJM", "2018-09-01T00:00:00+00:00", None),
    ]
    assert parse_qs(urlsplit(web.requests[0]).query) == {
        "api_key": ["planted-s3cret"], "frequency": ["hourly"], "data[0]": ["value"],
        "facets[respondent][]": ["CISO", "PJM"], "facets[type][]": ["D"],
        "start": ["2018-09-01T01"], "end": ["2018-09-02T01"], "offset": ["0"], "length": ["5000"],
        "sort[0][column]": ["period"], "sort[0][direction]": ["asc"],
        "sort[1][column]": ["respondent"], "sort[1][direction]": ["asc"],
    }  # fmt: skip


def test_all_pages_are_read(web: Web, request_for: Callable[..., Request]) -> None:
    """Twelve thousand rows are read in three pages of at most five thousand, each row once."""
    rows = [{"period": f"{1 + n:06d}", "series": "RNGWHHD", "value": n} for n in range(12_000)]

    def page(path: str) -> tuple[int, dict[str, str], bytes]:
        query = parse_qs(urlsplit(path).query)
        offset, length = int(query["offset"][0]), int(query["length"][0])
        return 200, {}, answer(*rows[offset : offset + length], total=len(rows))

    web.answers["/v2/natural-gas/pri/fut/data/"] = page
    read = eia.read(request_for(GAS))
    assert read["y"].to_list() == [str(n) for n in range(12_000)]
    assert len(web.requests) == 3


def test_pages_that_end_early_are_an_error(web: Web, request_for: Callable[..., Request]) -> None:
    row = {"period": "2018-09-03", "series": "RNGWHHD", "value": "2.9"}
    web.respond("/v2/natural-gas/pri/fut/data/", answer(row, total=7), answer(total=7))
    with pytest.raises(DataError, match="the pages end after 1 of 7 rows"):
        eia.read(request_for(GAS))


@pytest.mark.parametrize(
    ("frequency", "period", "start"),
    [
        ("daily", "2018-09-03", "2018-09-03"),
        ("weekly", "2018-09-07", "2018-09-07"),
        ("monthly", "2018-09", "2018-09-01"),
    ],
)  # fmt: skip
def test_days_weeks_and_months(
    web: Web, request_for: Callable[..., Request], frequency: str, period: str, start: str
) -> None:
    web.respond("/v2/natural-gas/pri/fut/data/", answer({"period": period, "series": "RNGWHHD", "value": "2.9"}))
    assert eia.read(request_for(GAS | {"frequency": frequency})).rows() == [("RNGWHHD", start, "2.9")]


def test_several_series_need_a_series_id_column(web: Web, request_for: Callable[..., Request]) -> None:
    web.respond("/v2/electricity/rto/region-data/data/", answer(hour("CISO", "2018-09-01T01", "1")))
    assert eia.read(request_for(DEMAND, COLUMNS[1:]))["y"].to_list() == ["1"]
    two = hour("CISO", "2018-09-01T01", "1"), hour("PJM", "2018-09-01T01", "2")
    web.respond("/v2/electricity/rto/region-data/data/", answer(*two))
    with pytest.raises(DataError, match="has 2 series; narrow the facets"):
        eia.read(request_for(DEMAND, COLUMNS[1:]))


def test_a_facet_that_is_not_fixed_is_named(web: Web, request_for: Callable[..., Request]) -> None:
    """Read one day in two time zones, as the daily grid data have it, each with its description."""
    rows = [
        {"period": "2018-09-03", "respondent": "PJM", "timezone": zone, "timezone-description": f"{zone} time",
         "value": value, "value-units": "MWh"}
        for zone, value in (("Arizona", "5"), ("Eastern", "6"))
    ]  # fmt: skip
    options = GAS | {"route": "electricity/rto/daily-region-data", "series": "respondent", "facets": {}}
    web.respond("/v2/electricity/rto/daily-region-data/data/", answer(*rows))
    expected = (
        r"first of PJM, 2018-09-03; they differ in 'timezone'\. Fix it .* facets = { timezone = \[\"Arizona\"\] }"
    )
    with pytest.raises(DataError, match=expected):
        eia.read(request_for(options))
    web.respond("/v2/electricity/rto/daily-region-data/data/", answer(rows[0], rows[0]))
    assert eia.read(request_for(options))["y"].to_list() == ["5"]  # a row that two pages have in common


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ((403, {}, b'{"error": {"code": "API_KEY_INVALID", "k": "planted-s3cret"}}'), "status 403: .*API_KEY_INVALID"),
        ((404, {}, b'{"error": "Not found.", "code": 404}'), "status 404: .*Not found"),
        (b'{"response": {"data": [1], "total": 1}}', "has no response with data and total"),
        (b'{"response": {"data": []}}', "has no response with data and total"),
        (b"[]", "has no response with data and total"),
        (answer({"period": "2018-09-03", "value": "1"}), "natural-gas/pri/fut has no column 'series'; it has 'period'"),
    ],
)  # fmt: skip
def test_an_unusable_response_is_an_error_without_the_key(
    web: Web, request_for: Callable[..., Request], body: bytes | Response, message: str
) -> None:
    web.respond("/v2/natural-gas/pri/fut/data/", body)
    with pytest.raises(DataError, match=message) as raised:
        eia.read(request_for(GAS))
    assert "planted-s3cret" not in str(raised.value)
