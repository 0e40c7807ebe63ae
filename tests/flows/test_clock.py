"""Issue times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time

import pytest

from flows.clock import TimeError, default_issue_time, last_issue_time, parse_days, parse_time


def test_a_time_without_offset_is_local(utc: Callable[..., datetime]) -> None:
    assert parse_time("2018-09-01", "America/New_York") == utc(2018, 9, 1, 4)
    assert parse_time("2018-09-01T10:00+02:00", "America/New_York") == utc(2018, 9, 1, 8)
    with pytest.raises(TimeError, match="tomorrow"):
        parse_time("tomorrow", "UTC")


def test_a_day_alone_is_its_issue_time(utc: Callable[..., datetime]) -> None:
    for day in ("2018-09-01", "20180901", "2018-W35-6"):
        assert parse_time(day, "America/New_York", time(9, 30)) == utc(2018, 9, 1, 13, 30)
    # A time of midnight is midnight.
    assert parse_time("2018-09-01T00:00", "America/New_York", time(9, 30)) == utc(2018, 9, 1, 4)


def test_a_range_of_days_ends_at_or_after_its_start() -> None:
    assert parse_days("2018-09-01", "2018-09-01") == (date(2018, 9, 1), date(2018, 9, 1))
    with pytest.raises(TimeError, match="2018-08-31 is before the start 2018-09-01"):
        parse_days("2018-09-01", "2018-08-31")
    with pytest.raises(TimeError, match=r"end: '21\.11\.2026' is not a day"):
        parse_days("2026-11-01", "21.11.2026")


def test_last_issue_over_a_clock_change(utc: Callable[..., datetime]) -> None:
    # Madrid went to winter time at 03:00 on 2018-10-28.
    assert last_issue_time(time(6), "Europe/Madrid", utc(2018, 10, 28, 4, 59)) == utc(2018, 10, 27, 4)
    assert last_issue_time(time(6), "Europe/Madrid", utc(2018, 10, 28, 5)) == utc(2018, 10, 28, 5)


def test_default_issue_is_not_after_the_newest_target(utc: Callable[..., datetime]) -> None:
    assert default_issue_time(time(0), "UTC", utc(2018, 9, 1), utc(2026, 1, 1)) == utc(2018, 9, 1)
    assert default_issue_time(time(0), "UTC", utc(2018, 8, 31, 23), utc(2026, 1, 1)) == utc(2018, 8, 31)
    assert default_issue_time(time(0), "UTC", None, utc(2026, 1, 1, 5)) == utc(2026, 1, 1)
