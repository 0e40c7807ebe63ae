"""ENTSO-E's documents, from a server with the platform's documented responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from storage.schemas import DataError
from storage.sources import entsoe
from storage.sources.entsoe_areas import eic
from storage.sources.request import Request
from tests.support.source_answers import document, period, price, refusal
from tests.support.web_server import Web

COLUMNS = ["series_id", "valid_time", "y"]
LOAD = {"document": "load", "areas": ("FR",), "resolution": None, "published": None, "sequence": 1}
PRICE = LOAD | {"document": "price"}


@pytest.fixture
def request_for(web: Web, request_of: Callable[..., Request]) -> Callable[..., Request]:
    def make(options: dict[str, Any] = LOAD, columns: list[str] = COLUMNS, **changes: Any) -> Request:
        return replace(request_of(f"{web.address}/api", columns, **options), api_key="planted-s3cret", **changes)

    return make


def flat(rows: pl.DataFrame) -> list[tuple[str, str, float]]:
    return [(name, time.strftime("%dT%H:%M"), y) for name, time, y in rows.select(COLUMNS).rows()]


def test_load_of_areas_by_name_and_by_code(web: Web, request_for: Callable[..., Request]) -> None:
    points = period("2018-09-01T00:00Z", "2018-09-01T02:00Z", "PT60M", {1: 50000, 2: 51000.5})
    web.respond("/api", document(f"<curveType>A01</curveType>{points}"))
    rows = entsoe.read(request_for(LOAD | {"areas": ("FR", "10YNL----------L")}))
    assert flat(rows) == [
        (area, time, y)
        for area in ("FR", "10YNL----------L")
        for time, y in (("01T00:00", 50000.0), ("01T01:00", 51000.5))
    ]
    assert parse_qs(urlsplit(web.requests[1]).query) == {
        "documentType": ["A65"], "processType": ["A16"], "outBiddingZone_Domain": ["10YNL----------L"],
        "periodStart": ["201809010000"], "periodEnd": ["201809020000"], "securityToken": ["planted-s3cret"],
    }  # fmt: skip


def test_a_point_is_valid_until_the_next(web: Web, request_for: Callable[..., Request]) -> None:
    """Curve A03 leaves out points that repeat the previous one. In A01 a point that is left out is missing."""
    points = period("2018-09-01T00:00Z", "2018-09-01T02:00Z", "PT30M", {1: 10, 3: 12})
    for curve, expected in (("A03", [10, 10, 12, 12]), ("A01", [10, None, 12, None])):
        web.respond("/api", document(f"<curveType>{curve}</curveType>{points}"))
        times = ["01T00:00", "01T00:30", "01T01:00", "01T01:30"]
        wanted = [("FR", time, y) for time, y in zip(times, expected, strict=True) if y is not None]
        assert flat(entsoe.read(request_for())) == wanted


def test_a_resolution_that_changes_within_a_document(web: Web, request_for: Callable[..., Request]) -> None:
    """On 2025-10-01 a document holds hours, then quarters. They are read unchanged, or all with one length."""
    hours = period("2018-09-01T00:00Z", "2018-09-01T02:00Z", "PT60M", {1: 40, 2: -1.5}, "price.amount")
    quarters = period("2018-09-01T02:00Z", "2018-09-01T03:15Z", "PT15M", {1: 1, 2: 2, 4: 5}, "price.amount")
    web.respond("/api", document(price(hours), price(quarters), kind="Publication_MarketDocument"))
    # The fifth quarter repeats the fourth, and its hour is incomplete.
    read = [("00:00", 40), ("01:00", -1.5), ("02:00", 1), ("02:15", 2), ("02:30", 2), ("02:45", 5), ("03:00", 5)]
    assert flat(entsoe.read(request_for(PRICE))) == [("FR", f"01T{time}", y) for time, y in read]
    assert flat(entsoe.read(request_for(PRICE | {"resolution": "1h"}))) == [
        ("FR", "01T00:00", 40.0), ("FR", "01T01:00", -1.5), ("FR", "01T02:00", 2.5),
    ]  # fmt: skip
    fine = flat(entsoe.read(request_for(PRICE | {"resolution": "15m"})))
    assert [y for _, _, y in fine] == [40] * 4 + [-1.5] * 4 + [1, 2, 2, 5, 5]
    assert [time for _, time, _ in fine[:5]] == ["01T00:00", "01T00:15", "01T00:30", "01T00:45", "01T01:00"]


def test_only_prices_of_the_day_ahead_auction_are_read(web: Web, request_for: Callable[..., Request]) -> None:
    def one(value: int, **named: Any) -> str:
        return price(period("2018-09-01T00:00Z", "2018-09-01T01:00Z", "PT60M", {1: value}, "price.amount"), **named)

    auctions = one(1, sequence=1), one(2, sequence=2), one(3, contract="A07"), one(4)
    web.respond("/api", document(*auctions, kind="Publication_MarketDocument"))
    assert [y for _, _, y in flat(entsoe.read(request_for(PRICE)))] == [1, 4]
    assert [y for _, _, y in flat(entsoe.read(request_for(PRICE | {"sequence": 2})))] == [2, 4]


def test_prices_of_another_auction_only_are_a_warning(
    web: Web, request_for: Callable[..., Request], caplog: pytest.LogCaptureFixture
) -> None:
    points = period("2018-09-01T00:00Z", "2018-09-01T01:00Z", "PT60M", {1: 2}, "price.amount")
    web.respond("/api", document(price(points, sequence=2), kind="Publication_MarketDocument"))
    assert flat(entsoe.read(request_for(PRICE))) == []
    (warning,) = caplog.messages
    assert "auction sequence 2 only, and sequence 1 is requested. Set sequence in [feed.options]" in warning
    caplog.clear()
    assert [y for _, _, y in flat(entsoe.read(request_for(PRICE | {"sequence": 2})))] == [2]
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("options", "known"),
    [
        # Winter time until 01:00 UTC of the 25th of March 2018, summer time after it; 13:00 and 10:00 in Brussels.
        (PRICE, ["2018-03-24T12:00", "2018-03-24T12:00", "2018-03-25T11:00"]),
        (LOAD | {"document": "load_forecast"}, ["2018-03-24T09:00", "2018-03-24T09:00", "2018-03-25T08:00"]),
    ],
)
def test_a_row_is_known_from_its_publication_on_the_day_before(
    web: Web, request_for: Callable[..., Request], options: dict[str, Any], known: list[str]
) -> None:
    points = period("2018-03-24T23:00Z", "2018-03-25T23:00Z", "PT60M", {1: 1, 23: 2, 24: 3})
    web.respond("/api", document(f"<curveType>A01</curveType>{points}"))
    rows = entsoe.read(request_for(options, ["valid_time", "available_at", "y"]))
    assert [time.strftime("%Y-%m-%dT%H:%M") for time in rows["available_at"]] == known


def test_a_request_spans_a_year_at_most_and_none_precedes_the_platform(
    web: Web, request_for: Callable[..., Request]
) -> None:
    web.respond("/api", refusal("No matching data found for Data item Actual Total Load [6.1.A]"))
    rows = entsoe.read(request_for(since=datetime(1970, 1, 1, tzinfo=UTC), until=datetime(2017, 1, 1, tzinfo=UTC)))
    assert rows.is_empty()
    queries = [parse_qs(urlsplit(path).query) for path in web.requests]
    spans = [(query["periodStart"][0], query["periodEnd"][0]) for query in queries]
    assert spans == [
        ("201412010000", "201512010000"), ("201512010000", "201611300000"), ("201611300000", "201701010000"),
    ]  # fmt: skip


def test_missing_data_are_no_error_and_other_refusals_are(web: Web, request_for: Callable[..., Request]) -> None:
    for status in (200, 400):
        web.respond("/api", (status, {}, refusal("No matching data found")))
        assert entsoe.read(request_for()).is_empty()
        web.respond("/api", (status, {}, refusal("The amount of requested data exceeds allowed limit. planted-s3cret")))
        with pytest.raises(DataError, match="refused: The amount of requested data exceeds") as raised:
            entsoe.read(request_for())
        assert "planted-s3cret" not in str(raised.value)
    web.respond("/api", (401, {}, refusal("Unauthorized. Missing or invalid security token in query")))
    with pytest.raises(DataError, match=r"refused: Unauthorized. Missing or invalid security token"):
        entsoe.read(request_for())
    web.respond("/api", (401, {}, b"Unauthorized"))
    with pytest.raises(DataError, match="HTTP status 401: Unauthorized"):
        entsoe.read(request_for())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is not an XML document: nothing"),
        (b"<GL_MarketDocument>", "is not an XML document"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "is not an XML document"),
        (b"<other/>", "must be a document of load or prices, got 'other'"),
        (document(period("2018-09-01T00:00Z", "2018-09-01T01:00Z", "P1Y", {1: 1})), "a resolution of 'P1Y'"),
        (document(period("2018-09-01T00:00Z", "2018-09-01T01:00Z", "PT0M", {1: 1})), "cannot be read"),
        (document(period("2018-09-01T00:00Z", "2018-09-01T01:00Z", "PT60M", {2: 1})), "position 2 of 1"),
        (document(period("2018-09-01T00:00Z", "2018-09-01T01:00Z", "PT60M", {1: "n/a"})), "cannot be read: .*n/a"),
        (document(period("yesterday", "2018-09-01T01:00Z", "PT60M", {1: 1})), "cannot be read: .*yesterday"),
        (document(period("2018-09-01T00:00", "2018-09-01T01:00Z", "PT60M", {1: 1})), "a time without a zone"),
        (document(period("2018-09-01T00:00Z", "9018-09-01T01:00Z", "PT15M", {1: 1})), "a period from"),
        (document("<Period></Period>"), "Period without timeInterval"),
    ],
)
def test_an_unusable_response_is_an_error_of_one_line(
    web: Web, request_for: Callable[..., Request], body: bytes, message: str
) -> None:
    web.respond("/api", body)
    with pytest.raises(DataError, match=message) as raised:
        entsoe.read(request_for())
    assert "\n" not in str(raised.value)


def test_codes_of_areas() -> None:
    assert eic("DE_LU") == eic("10Y1001A1001A82H") == "10Y1001A1001A82H"
    for wrong in ("XX", "10Y1001A1001A82L", "10Y1001A1001A28H", "10y1001a1001a82h"):
        with pytest.raises(ValueError, match="is no area"):
            eic(wrong)
