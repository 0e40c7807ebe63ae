"""Conversion of instants to steps and back, over clock changes and holidays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.timegrid import DAY, FREQUENCIES, MINUTE, TimeGrid, default_offset, holiday_calendar

ZONES = [
    "UTC",
    "Europe/Madrid",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kolkata",
]


def micros(text: str) -> int:
    """Return microseconds since 1970."""
    return int(np.datetime64(text, "us").astype(np.int64))


@settings(deadline=None)
@given(st.sampled_from(FREQUENCIES), st.sampled_from(ZONES), st.integers(micros("1990-01-01"), micros("2035-01-01")))
def test_steps_have_no_gap_or_overlap(frequency: str, zone: str, instant: int) -> None:
    grid = TimeGrid(frequency, zone, "NYSE" if frequency == "1b" else None)
    step = int(grid.index(np.array([instant]))[0])
    steps = np.arange(step - 2, step + 3)
    start = grid.start(steps)
    assert (grid.index(start) == steps).all()
    assert (np.diff(start) > 0).all()
    assert start[2] <= instant < start[3]
    if frequency != "1b":
        assert (grid.end(steps)[:-1] == start[1:]).all()
    assert (grid.first_steps(start) == steps).all()
    assert (grid.first_steps(start + 1) == steps + 1).all()
    first = grid.first_step(instant)
    assert grid.start(np.array([first]))[0] >= instant > grid.start(np.array([first - 1]))[0]


@pytest.mark.parametrize(("day", "hours"), [("2018-03-25", 23), ("2018-10-28", 25), ("2018-10-29", 24)])
def test_length_of_local_days(day: str, hours: int) -> None:
    grid = TimeGrid("1d", "Europe/Madrid", None)
    step = np.array([np.datetime64(day).astype(int)])
    assert grid.end(step) - grid.start(step) == hours * DAY // 24


def test_business_days_skip_weekends_and_holidays() -> None:
    grid = TimeGrid("1b", "America/New_York", "NYSE")
    steps = grid.index(np.array([micros("2018-12-21T15:00")])) + np.arange(5)
    days = ["2018-12-21", "2018-12-24", "2018-12-26", "2018-12-27", "2018-12-28"]
    assert grid.dates(steps).astype(str).tolist() == days


def test_holiday_codes() -> None:
    assert "2018-12-25" in holiday_calendar("US", range(2018, 2019))
    assert "2018-01-06" in holiday_calendar("DE-BY", range(2018, 2019))
    with pytest.raises(ValueError):
        holiday_calendar("DE-XX", range(2018, 2019))


@pytest.mark.parametrize(
    ("frequency", "zone", "minutes"),
    [
        ("1h", "Asia/Kolkata", 30), ("1h", "Asia/Kathmandu", 15), ("30m", "Asia/Kathmandu", 15),
        ("15m", "Asia/Kathmandu", 0), ("30m", "Asia/Kolkata", 0), ("1h", "America/St_Johns", 30),
        ("1h", "Europe/Madrid", 0), ("1h", "Australia/Lord_Howe", 0),
    ],
)  # fmt: skip
def test_hours_begin_with_those_of_the_zone(frequency: str, zone: str, minutes: int) -> None:
    assert default_offset("1d", zone) == 0
    offset = default_offset(frequency, zone)
    assert offset == minutes * MINUTE
    grid = TimeGrid(frequency, zone, None, offset=offset)
    instant = micros("2018-09-01T00:00") + offset
    before, step = grid.index(np.array([instant - 1, instant])).tolist()
    assert (grid.start(np.array([step])).tolist(), before) == ([instant], step - 1)
    assert grid.first_step(instant) == step
