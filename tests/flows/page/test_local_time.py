"""Local times and labels over the clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flows.page.local_time import LocalTimes


def hours(first: datetime, count: int) -> list[datetime]:
    return [first + timedelta(hours=i) for i in range(count)]


@pytest.mark.parametrize(
    ("first", "day_is", "noon_after"),
    [
        (datetime(2026, 10, 24, 22, tzinfo=UTC), 25, 13),  # clocks go back: 00:00 CEST to 00:00 CET
        (datetime(2026, 3, 28, 23, tzinfo=UTC), 23, 11),  # clocks go forward
        (datetime(2026, 6, 30, 22, tzinfo=UTC), 24, 12),
    ],
)
def test_a_day_is_as_wide_as_it_is_long(first, day_is, noon_after):
    ticks = LocalTimes("Europe/Berlin", daily=False).ticks(hours(first, 30))
    days = [tick.at for tick in ticks if tick.level == 0]
    assert days == [0, day_is]
    assert next((tick.at, tick.label) for tick in ticks if tick.level == 1) == (noon_after, "12:00")


def test_the_two_hours_of_an_autumn_night_have_two_names():
    times = LocalTimes("Europe/Berlin", daily=False)
    names = [times.period(t) for t in hours(datetime(2026, 10, 25, 0, tzinfo=UTC), 2)]
    assert names == ["Sun 25 Oct 02:00 CEST", "Sun 25 Oct 02:00 CET"]


def test_a_day_whose_midnight_is_skipped_keeps_its_name():
    # Beirut goes from 24:00 on Saturday to 01:00 on Sunday, 29 March 2026.
    ticks = LocalTimes("Asia/Beirut", daily=False).ticks(hours(datetime(2026, 3, 28, 20, tzinfo=UTC), 6))
    assert [(tick.at, tick.label) for tick in ticks if tick.level == 0] == [(2, "Sun 29 Mar")]


def test_periods_of_days_have_no_time_of_day():
    times = LocalTimes("Europe/Madrid", daily=True)
    start = datetime(2025, 6, 1, 4, tzinfo=UTC)  # a gas day
    assert times.period(start) == "Sun 1 Jun"
    ticks = times.ticks([start + timedelta(days=i) for i in range(15)])
    assert [tick.at for tick in ticks if tick.level == 0] == [0, 7, 14]
