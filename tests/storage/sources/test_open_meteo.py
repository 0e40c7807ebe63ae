"""Weather of Open-Meteo, from a server with its documented responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from storage.schemas import DataError
from storage.sources import open_meteo
from storage.sources.request import Request
from tests.support.source_answers import Weather
from tests.support.web_server import Response, Web

COLUMNS = ["series_id", "valid_time", "available_at", "temperature_2m"]
LOCATIONS = {
    "north": {"latitude": 60.0, "longitude": 5.0, "weight": 1.0},
    "south": {"latitude": 40.0, "longitude": -5.5, "weight": 3.0},
}
REQUESTED_AT = datetime(2018, 9, 1, 5, 30, tzinfo=UTC)


@pytest.fixture
def request_for(web: Web, request_of: Callable[..., Request]) -> Callable[..., Request]:
    def make(
        api: str,
        columns: list[str] = COLUMNS,
        zone: str = "UTC",
        locations: dict[str, dict[str, float]] = LOCATIONS,
        changes: dict[str, Any] | None = None,
        **options: Any,
    ) -> Request:
        defaults = {"api": api, "locations": locations, "resolution": "hourly", "model": None, "lead_days": (1, 2)}
        chosen = defaults | {"delay": 9 * 3600.0, "run_hours": (0,), "run_days": 2} | options
        return replace(
            request_of(f"{web.address}/v1/weather", list(columns), zone=zone, **chosen),
            **{"requested_at": REQUESTED_AT} | (changes or {}),
        )

    return make


def at(hour: int) -> datetime:
    return datetime(2018, 9, 1, tzinfo=UTC) + timedelta(hours=hour)


def value(latitude: float, hour: float, lead: int = 0) -> float:
    return latitude + (hour + 31 * 24) / 100 + 1000 * lead


def test_locations_are_series(web: Web, request_for: Callable[..., Request]) -> None:
    Weather(web)
    rows = open_meteo.read(request_for("archive"))
    assert len(rows) == 2 * 48
    assert rows.row(0) == ("north", at(0), None, value(60, 0))
    assert rows.row(-1) == ("south", at(47), None, value(40, 47))
    assert parse_qs(urlsplit(web.requests[0]).query) == {
        "latitude": ["60.0,40.0"], "longitude": ["5.0,-5.5"], "start_date": ["2018-09-01"], "end_date": ["2018-09-02"],
        "timezone": ["UTC"], "hourly": ["temperature_2m"],
    }  # fmt: skip


def test_locations_are_averaged_by_weight(web: Web, request_for: Callable[..., Request]) -> None:
    weather = Weather(web)
    columns = ["valid_time", "temperature_2m"]
    rows = open_meteo.read(request_for("archive", columns))
    assert rows.row(5) == (at(5), pytest.approx((value(60, 5) + 3 * value(40, 5)) / 4))
    # The mean over the other locations would not be comparable, so it is missing.
    weather.missing = {("temperature_2m", "2018-09-01T05:00")}
    one = open_meteo.read(request_for("archive", columns, locations={"north": LOCATIONS["north"]}))
    assert one["temperature_2m"].null_count() == 1
    rows = open_meteo.read(request_for("archive", columns))
    assert rows.filter(rows["temperature_2m"].is_null())["valid_time"].to_list() == [at(5)]


def test_a_previous_run_is_known_its_lead_before_the_period_plus_the_delay(
    web: Web, request_for: Callable[..., Request]
) -> None:
    weather = Weather(web)
    weather.missing = {("temperature_2m_previous_day1", "2018-09-01T01:00")}
    rows = open_meteo.read(request_for("previous-runs", locations={"north": LOCATIONS["north"]}))
    assert len(rows) == 2 * 48 - 1
    first = rows.filter(rows["valid_time"] == at(0)).sort("available_at")
    assert first.rows() == [
        ("north", at(0), at(-48 + 9), value(60, 0, lead=2)),
        ("north", at(0), at(-24 + 9), value(60, 0, lead=1)),
    ]
    # A lead that the archive lacks does not hide the longer one.
    assert rows.filter(rows["valid_time"] == at(1))["temperature_2m"].to_list() == [value(60, 1, lead=2)]


def test_an_average_is_taken_per_lead(web: Web, request_for: Callable[..., Request]) -> None:
    Weather(web)
    rows = open_meteo.read(request_for("previous-runs", COLUMNS[1:], lead_days=(3,)))
    assert rows.row(0) == (at(0), at(-72 + 9), pytest.approx((value(60, 0, 3) + 3 * value(40, 0, 3)) / 4))
    assert len(rows) == 48


def test_a_single_run_is_known_a_delay_after_its_start(
    web: Web, request_for: Callable[..., Request], caplog: pytest.LogCaptureFixture
) -> None:
    weather = Weather(web)
    north = {"north": LOCATIONS["north"]}
    changes = {"requested_at": at(40)}
    rows = open_meteo.read(request_for("single-runs", locations=north, changes=changes))
    # The days of the request are 1 and 2 September. The run of the day before covers the first of them.
    assert [parse_qs(urlsplit(path).query)["run"] for path in web.requests] == [
        ["2018-08-31T00:00"], ["2018-09-01T00:00"], ["2018-09-02T00:00"],
    ]  # fmt: skip
    assert parse_qs(urlsplit(web.requests[0]).query) == {
        "latitude": ["60.0"], "longitude": ["5.0"], "run": ["2018-08-31T00:00"], "forecast_days": ["2"],
        "timezone": ["UTC"], "hourly": ["temperature_2m"],
    }  # fmt: skip
    assert rows.filter(rows["valid_time"] == at(3)).sort("available_at").rows() == [
        ("north", at(3), at(-24 + 9), value(60, 3) + 310_000), ("north", at(3), at(9), value(60, 3) + 10_000),
    ]  # fmt: skip
    # A run that is not served yet is not requested, and one that the archive lacks is left out.
    weather.missing_runs = {"2018-09-01T00:00"}
    rows = open_meteo.read(request_for("single-runs", locations=north, changes={"requested_at": at(32)}))
    assert rows["available_at"].unique().to_list() == [at(-24 + 9)]
    assert "1 of 2 runs are not in the archive" in caplog.text
    weather.missing_runs.add("2018-08-31T00:00")
    with pytest.raises(DataError, match="model run is not available"):
        open_meteo.read(request_for("single-runs", locations=north, changes={"requested_at": at(32)}))


def test_a_single_run_that_starts_within_a_day(web: Web, request_for: Callable[..., Request]) -> None:
    """The response begins with the day. Hours before the start are no forecast. Sums keep the run that they are of."""
    Weather(web)
    columns = ["valid_time", "available_at", "temperature_2m", "rain"]
    options: dict[str, Any] = {"locations": {"north": LOCATIONS["north"]}, "run_hours": (12,), "run_days": 1}
    rows = open_meteo.read(request_for("single-runs", columns, changes={"requested_at": at(400)}, **options))
    assert rows["valid_time"].to_list() == [at(hour) for day in (0, 24) for hour in range(day + 12, day + 23)]
    assert rows.row(0) == (at(12), at(12 + 9), value(60, 12) + 10_000, value(60, 13) + 10_000)
    daily = request_for("single-runs", COLUMNS, resolution="daily", changes={"requested_at": at(400)}, **options)
    assert open_meteo.read(daily).is_empty()
    two_days = open_meteo.read(replace(daily, options={**daily.options, "run_days": 2}))
    assert [time.isoformat() for time in two_days["valid_time"]][:2] == ["2018-09-01T00:00:00", "2018-09-02T00:00:00"]
    average = request_for("single-runs", COLUMNS[1:], changes={"requested_at": at(30)})
    assert open_meteo.read(average).row(0)[2] == pytest.approx((value(60, -24) + 3 * value(40, -24)) / 4 + 310_000)


def test_a_forecast_is_known_from_its_request_on(web: Web, request_for: Callable[..., Request]) -> None:
    Weather(web)
    rows = open_meteo.read(request_for("forecast", changes={"until": at(300)}))
    assert rows["available_at"].unique().to_list() == [REQUESTED_AT]
    assert rows["valid_time"].max() == at(24 * 13 - 1)


def test_sums_of_an_hour_are_stored_by_its_start(web: Web, request_for: Callable[..., Request]) -> None:
    """Open-Meteo gives radiation and precipitation the time of the end of their hour."""
    Weather(web)
    columns = ["valid_time", "available_at", "temperature_2m", "shortwave_radiation"]
    rows = open_meteo.read(request_for("archive", columns, locations={"north": LOCATIONS["north"]}))
    assert rows["valid_time"].to_list() == [at(hour) for hour in range(48)]
    assert rows["temperature_2m"].to_list() == [value(60, hour) for hour in range(48)]
    assert rows["shortwave_radiation"].to_list() == [value(60, hour + 1) for hour in range(48)]
    # An hour is known when the later of its two values is.
    rows = open_meteo.read(request_for("previous-runs", columns, locations={"north": LOCATIONS["north"]}))
    assert rows.filter(rows["valid_time"] == at(0)).sort("available_at").rows() == [
        (at(0), at(1 - 48 + 9), value(60, 0, lead=2), value(60, 1, lead=2)),
        (at(0), at(1 - 24 + 9), value(60, 0, lead=1), value(60, 1, lead=1)),
    ]
    one = open_meteo.read(request_for("archive", ["valid_time", "rain"], locations={"north": LOCATIONS["north"]}))
    assert one.rows()[:2] == [(at(-1), value(60, 0)), (at(0), value(60, 1))]
    assert one["valid_time"].max() == at(47)


def test_the_newest_hour_waits_for_its_sum(web: Web, request_for: Callable[..., Request]) -> None:
    Weather(web, last="2018-09-02")
    columns = ["valid_time", "temperature_2m", "rain"]
    rows = open_meteo.read(request_for("archive", columns, locations={"north": LOCATIONS["north"]}))
    assert rows["valid_time"].max() == at(46)
    assert rows.null_count().row(0) == (0, 0, 0)


def test_days_are_those_of_the_feeds_timezone(web: Web, request_for: Callable[..., Request]) -> None:
    Weather(web)
    rows = open_meteo.read(request_for("archive", zone="America/New_York", resolution="daily"))
    assert [time.isoformat() for time in rows["valid_time"].unique().sort()] == [
        "2018-08-31T00:00:00", "2018-09-01T00:00:00",
    ]  # fmt: skip
    assert "timezone=America%2FNew_York&daily=temperature_2m" in web.requests[0]


def test_daily_means_of_previous_runs_cover_complete_days(web: Web, request_for: Callable[..., Request]) -> None:
    """One of the days has 25 hours. A day is known with its last hour."""
    Weather(web, last="2018-12-01")
    ends = {"since": datetime(2018, 10, 27, tzinfo=UTC), "until": datetime(2018, 10, 30, tzinfo=UTC)}
    rows = open_meteo.read(
        request_for(
            "previous-runs", zone="Europe/Madrid", locations={"north": LOCATIONS["north"]}, resolution="daily",
            lead_days=(1,), changes=ends,
        )
    )  # fmt: skip
    assert [time.isoformat() for time in rows["valid_time"]] == [
        "2018-10-28T00:00:00", "2018-10-29T00:00:00", "2018-10-30T00:00:00",
    ]  # fmt: skip
    change = datetime(2018, 10, 27, 22, tzinfo=UTC)
    hours = (change - at(0)) / timedelta(hours=1)
    assert rows["temperature_2m"][0] == pytest.approx(value(60, hours + 12, lead=1))
    assert rows["available_at"][0] == change + timedelta(hours=24 - 24 + 9)


def test_days_outside_the_servers_range_are_not_requested_again(web: Web, request_for: Callable[..., Request]) -> None:
    Weather(web)
    ends = {"since": datetime(2016, 1, 1, tzinfo=UTC), "until": datetime(2018, 9, 20, tzinfo=UTC)}
    rows = open_meteo.read(request_for("archive", locations={"north": LOCATIONS["north"]}, changes=ends))
    assert rows["valid_time"].min() == datetime(2018, 8, 1, tzinfo=UTC)
    assert rows["valid_time"].max() == datetime(2018, 9, 16, 23, tzinfo=UTC)
    assert len(rows) == 47 * 24
    assert len(web.requests) == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ((400, {}, b'{"error": true, "reason": "Cannot initialize X"}'), "status 400: .*Cannot initialize"),
        ((400, {}, b'{"reason": "out of allowed range from 2018-13-01 to 2018-99-01"}'), "status 400: .*2018-13-01"),
        ((400, {}, b'{"reason": "out of allowed range from 2018-08-01 to 2018-10-01"}'), "status 400: .*2018-10-01"),
        (b'{"hourly": {"time": ["2018-09-01T00:00"]}}', "no 'temperature_2m' in 'hourly'"),
        (b'{"daily": {}}', "no 'time' in 'hourly'"),
        (b"[]", "the response has 0 locations, 1 were requested"),
        (b"[1]", "no 'time' in 'hourly'"),
        (b'{"hourly": {"time": ["2018-09-01T00:00"], "temperature_2m": []}}', "do not fit together"),
        (b'{"hourly": {"time": ["2018-09-01T00:00"], "temperature_2m": ["warm"]}}', "do not fit together"),
        (b'{"hourly": {"time": [1], "temperature_2m": [1]}}', "do not fit together"),
    ],
)  # fmt: skip
def test_an_unusable_response_is_an_error_of_one_line(
    web: Web, request_for: Callable[..., Request], body: bytes | Response, message: str
) -> None:
    web.respond("/v1/weather", body)
    with pytest.raises(DataError, match=message) as raised:
        open_meteo.read(request_for("archive", locations={"north": LOCATIONS["north"]}))
    assert "\n" not in str(raised.value)


def test_default_addresses() -> None:
    assert open_meteo.default_address({"api": "archive"}, False) == "https://archive-api.open-meteo.com/v1/archive"
    assert (
        open_meteo.default_address({"api": "previous-runs"}, True)
        == "https://customer-previous-runs-api.open-meteo.com/v1/forecast"
    )
