"""Tests of local times and axis labels around clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flows.page.local_time import LocalTimeFormat


def hours(first: datetime, count: int) -> list[datetime]:
    return [first + timedelta(hours=i) for i in range(count)]


@pytest.mark.parametrize(
    ("first", "day_length", "noon_at"),
    [
        (datetime(2026, 10, 24, 22, tzinfo=UTC), 25, 13),  # clocks go back: 00:00 CEST to 00:00 CET
        (datetime(2026, 3, 28, 23, tzinfo=UTC), 23, 11),  # clocks go forward
        (datetime(2026, 6, 30, 22, tzinfo=UTC), 24, 12),
    ],
)
def test_width_of_a_day_is_its_length(first: datetime, day_length: int, noon_at: int) -> None:
    ticks = LocalTimeFormat("Europe/Berlin", "1h").period_ticks(hours(first, 30))
    days = [tick.at for tick in ticks if tick.level == 0]
    assert days == [0, day_length]
    assert next((tick.at, tick.label) for tick in ticks if tick.level == 1) == (noon_at, "12:00")


def test_repeated_hours_have_different_names() -> None:
    times = LocalTimeFormat("Europe/Berlin", "1h")
    names = [times.format_period(t) for t in hours(datetime(2026, 10, 25, 0, tzinfo=UTC), 2)]
    assert names == ["Sun 25 Oct 02:00 CEST", "Sun 25 Oct 02:00 CET"]


def test_day_without_midnight_has_a_label() -> None:
    # In Beirut, Saturday 24:00 is followed by Sunday 01:00 on 29 March 2026.
    ticks = LocalTimeFormat("Asia/Beirut", "1h").period_ticks(hours(datetime(2026, 3, 28, 20, tzinfo=UTC), 6))
    assert [(tick.at, tick.label) for tick in ticks if tick.level == 0] == [(2, "Sun 29 Mar")]


def test_daily_periods_have_no_time_of_day() -> None:
    times = LocalTimeFormat("Europe/Madrid", "1d")
    start = datetime(2025, 6, 1, 4, tzinfo=UTC)  # a gas day
    assert times.format_period(start) == "Sun 1 Jun"
    ticks = times.period_ticks([start + timedelta(days=i) for i in range(15)])
    assert [tick.at for tick in ticks if tick.level == 0] == [0, 7, 14]
