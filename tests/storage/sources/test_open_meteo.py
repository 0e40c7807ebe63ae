"""Weather of Open-Meteo, from a server that answers as its documentation says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from storage.schemas import DataError
from storage.sources import open_meteo
from tests.support.source_answers import Weather

COLUMNS = ["series_id", "valid_time", "available_at", "temperature_2m"]
PLACES = {
    "north": {"latitude": 60.0, "longitude": 5.0, "weight": 1.0},
    "south": {"latitude": 40.0, "longitude": -5.5, "weight": 3.0},
}
ASKED = datetime(2018, 9, 1, 5, 30, tzinfo=UTC)


@pytest.fixture
def request_for(web, request_of):
    def make(api, columns=COLUMNS, zone="UTC", places=PLACES, changes=None, **options):
        given = {"api": api, "locations": places, "resolution": "hourly", "model": None, "lead_days": (1, 2)}
        asked = given | {"delay": 9 * 3600.0} | options
        return replace(
            request_of(f"{web.address}/v1/weather", list(columns), zone=zone, **asked), asked=ASKED, **(changes or {})
        )

    return make


def at(hour: int) -> datetime:
    return datetime(2018, 9, 1, tzinfo=UTC) + timedelta(hours=hour)


def value(latitude: float, hour: float, lead: int = 0) -> float:
    return latitude + (hour + 31 * 24) / 100 + 1000 * lead


def test_places_are_series(web, request_for):
    Weather(web)
    rows = open_meteo.read(request_for("archive"))
    assert len(rows) == 2 * 48
    assert rows.row(0) == ("north", at(0), None, value(60, 0))
    assert rows.row(-1) == ("south", at(47), None, value(40, 47))
    assert parse_qs(urlsplit(web.asked[0]).query) == {
        "latitude": ["60.0,40.0"], "longitude": ["5.0,-5.5"], "start_date": ["2018-09-01"], "end_date": ["2018-09-02"],
        "timezone": ["UTC"], "hourly": ["temperature_2m"],
    }  # fmt: skip


def test_places_are_one_average_by_weight(web, request_for):
    weather = Weather(web)
    columns = ["valid_time", "temperature_2m"]
    rows = open_meteo.read(request_for("archive", columns))
    assert rows.row(5) == (at(5), pytest.approx((value(60, 5) + 3 * value(40, 5)) / 4))
    # Where a place says nothing, the average of the others would be another thing.
    weather.missing = {("temperature_2m", "2018-09-01T05:00")}
    one = open_meteo.read(request_for("archive", columns, places={"north": PLACES["north"]}))
    assert one["temperature_2m"].null_count() == 1
    rows = open_meteo.read(request_for("archive", columns))
    assert rows.filter(rows["temperature_2m"].is_null())["valid_time"].to_list() == [at(5)]


def test_a_run_is_known_a_lead_before_the_period_and_the_delay_later(web, request_for):
    weather = Weather(web)
    weather.missing = {("temperature_2m_previous_day1", "2018-09-01T01:00")}
    rows = open_meteo.read(request_for("previous-runs", places={"north": PLACES["north"]}))
    assert len(rows) == 2 * 48 - 1
    first = rows.filter(rows["valid_time"] == at(0)).sort("available_at")
    assert first.rows() == [
        ("north", at(0), at(-48 + 9), value(60, 0, lead=2)),
        ("north", at(0), at(-24 + 9), value(60, 0, lead=1)),
    ]
    # An archive that has no run of a lead does not undo the earlier one.
    assert rows.filter(rows["valid_time"] == at(1))["temperature_2m"].to_list() == [value(60, 1, lead=2)]


def test_an_average_of_runs_keeps_the_leads_apart(web, request_for):
    Weather(web)
    rows = open_meteo.read(request_for("previous-runs", COLUMNS[1:], lead_days=(3,)))
    assert rows.row(0) == (at(0), at(-72 + 9), pytest.approx((value(60, 0, 3) + 3 * value(40, 0, 3)) / 4))
    assert len(rows) == 48


def test_a_forecast_is_known_when_it_was_asked_for(web, request_for):
    Weather(web)
    rows = open_meteo.read(request_for("forecast", changes={"until": at(300)}))
    assert rows["available_at"].unique().to_list() == [ASKED]
    assert rows["valid_time"].max() == at(24 * 13 - 1)


def test_days_of_the_zone(web, request_for):
    Weather(web)
    rows = open_meteo.read(request_for("archive", zone="America/New_York", resolution="daily"))
    assert [time.isoformat() for time in rows["valid_time"].unique().sort()] == [
        "2018-08-31T00:00:00", "2018-09-01T00:00:00",
    ]  # fmt: skip
    assert "timezone=America%2FNew_York&daily=temperature_2m" in web.asked[0]


def test_days_made_of_runs_are_whole_days_of_the_zone(web, request_for):
    """The day of 25 hours among them; it is known with its last hour."""
    Weather(web, last="2018-12-01")
    ends = {"since": datetime(2018, 10, 27, tzinfo=UTC), "until": datetime(2018, 10, 30, tzinfo=UTC)}
    rows = open_meteo.read(
        request_for(
            "previous-runs", zone="Europe/Madrid", places={"north": PLACES["north"]}, resolution="daily",
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


def test_only_days_that_the_server_has_are_asked_for(web, request_for):
    Weather(web)
    ends = {"since": datetime(2016, 1, 1, tzinfo=UTC), "until": datetime(2018, 9, 20, tzinfo=UTC)}
    rows = open_meteo.read(request_for("archive", places={"north": PLACES["north"]}, changes=ends))
    assert rows["valid_time"].min() == datetime(2018, 8, 1, tzinfo=UTC)
    assert rows["valid_time"].max() == datetime(2018, 9, 16, 23, tzinfo=UTC)
    assert len(rows) == 47 * 24
    assert len(web.asked) == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ((400, {}, b'{"error": true, "reason": "Cannot initialize X"}'), "answer 400: .*Cannot initialize"),
        ((400, {}, b'{"reason": "out of allowed range from 2018-13-01 to 2018-99-01"}'), "answer 400: .*2018-13-01"),
        ((400, {}, b'{"reason": "out of allowed range from 2018-08-01 to 2018-10-01"}'), "answer 400: .*2018-10-01"),
        (b'{"hourly": {"time": ["2018-09-01T00:00"]}}', "no 'temperature_2m' in 'hourly'"),
        (b'{"daily": {}}', "no 'time' in 'hourly'"),
        (b"[]", "0 places answered, 1 were asked"),
        (b"[1]", "no 'time' in 'hourly'"),
        (b'{"hourly": {"time": ["2018-09-01T00:00"], "temperature_2m": []}}', "do not fit together"),
        (b'{"hourly": {"time": ["2018-09-01T00:00"], "temperature_2m": ["warm"]}}', "do not fit together"),
        (b'{"hourly": {"time": [1], "temperature_2m": [1]}}', "do not fit together"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be_used(web, request_for, body, said):
    web.give("/v1/weather", body)
    with pytest.raises(DataError, match=said) as raised:
        open_meteo.read(request_for("archive", places={"north": PLACES["north"]}))
    assert "\n" not in str(raised.value)


def test_addresses():
    assert open_meteo.default_address({"api": "archive"}, False) == "https://archive-api.open-meteo.com/v1/archive"
    assert (
        open_meteo.default_address({"api": "previous-runs"}, True)
        == "https://customer-previous-runs-api.open-meteo.com/v1/forecast"
    )
