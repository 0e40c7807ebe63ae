"""Clock changes in many zones: no row is lost or counted twice, and local days have 23, 24 or 25 hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.checks.feed_rows import CheckedRows, check_rows
from model.checks.feed_shape import FeedShape
from model.timegrid import SUBDAILY, TimeGrid
from tests.support.examples import examples
from tests.support.made import ZONES

LATE = datetime(2100, 1, 1, tzinfo=UTC)


def feed_shape(zone: str) -> FeedShape:
    return FeedShape("d", "target", "id", "t", ("y",), zone, timedelta(0), None)


@settings(max_examples=examples(150), deadline=None)
@given(
    zone=st.sampled_from(ZONES), day=st.dates(date(2005, 1, 1), date(2024, 12, 1)), days=st.integers(1, 40),
    frequency=st.sampled_from(["15m", "30m", "1h"]),
)  # fmt: skip
def test_wall_clock_times_become_their_instants(zone: str, day: date, days: int, frequency: str) -> None:
    """Instants written as naive wall-clock times, as sources do, become the same instants."""
    # A clock change of half an hour repeats half an hour, so a row of an hourly feed is ambiguous.
    assume(not (zone == "Australia/Lord_Howe" and frequency == "1h"))
    step = timedelta(microseconds=SUBDAILY[frequency])
    first = datetime.combine(day, datetime.min.time(), UTC)
    instants = [first + i * step for i in range(int(timedelta(days=days) / step))]
    wall = [t.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for t in instants]
    rows = pl.DataFrame({"id": "a", "t": wall, "y": np.arange(len(wall), dtype=float)})
    result = check_rows(rows, feed_shape(zone), TimeGrid(frequency, zone, None), (None, None), LATE)
    assert result.refused.is_empty()
    assert result.accepted["valid_time"].to_list() == instants
    assert result.accepted["y"].sum() == rows["y"].sum()


@settings(max_examples=examples(100), deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    first=st.dates(date(2005, 1, 1), date(2024, 12, 1)),
    day_start=st.sampled_from([0, 6, 9]),
)
def test_days_have_no_gap_or_overlap(zone: str, first: date, day_start: int) -> None:
    grid = TimeGrid("1d", zone, None, day_start * 3_600_000_000)
    steps = (first - date(1970, 1, 1)).days + np.arange(400)
    begin, end = grid.start(steps), grid.end(steps)
    assert (begin[1:] == end[:-1]).all()
    hours = (end - begin) / 3_600_000_000
    assert set(hours.tolist()) <= {23.0, 23.5, 24.0, 24.5, 25.0}
    assert (grid.index(begin) == steps).all()
    assert (grid.index(end - 1) == steps).all()


def test_clock_put_back_over_midnight() -> None:
    """In Newfoundland, 2006-10-29 00:01 became 23:01: the old date again, although the next day had begun."""
    grid = TimeGrid("1d", "America/St_Johns", None)
    minutes = int(datetime(2006, 10, 28, 2, 30, tzinfo=UTC).timestamp()) * 1_000_000 + 60_000_000 * np.arange(49 * 60)
    steps = grid.index(minutes)
    assert (np.diff(steps) >= 0).all()
    assert np.unique(steps, return_counts=True)[1].tolist() == [24 * 60, 25 * 60]


def test_hours_of_local_delivery_days() -> None:
    grid = TimeGrid("1h", "Europe/Madrid", None)
    day = TimeGrid("1d", "Europe/Madrid", None)
    for text, hours in (("2018-03-25", 23), ("2018-06-01", 24), ("2018-10-28", 25)):
        step = np.array([int(np.datetime64(text).astype(int))])
        first, last = int(day.start(step)[0]), int(day.end(step)[0])
        assert grid.first_step(last) - grid.first_step(first) == hours


def test_gas_days_begin_at_six() -> None:
    grid = TimeGrid("1d", "Europe/Madrid", None, 6 * 3_600_000_000)
    six = datetime(2018, 3, 24, 5, tzinfo=UTC)  # 06:00 in winter. The clock changes 20 hours later.

    def check(time: object) -> CheckedRows:
        rows = pl.DataFrame({"id": "a", "t": [time], "y": [1.0]})
        return check_rows(rows, feed_shape("Europe/Madrid"), grid, (0.0, None), LATE)

    for time in (date(2018, 3, 24), datetime(2018, 3, 24, 6), "2018-03-24 06:00", six):
        accepted = check(time).accepted
        assert accepted["valid_time"].to_list() == [six], time
        assert accepted["available_at"].to_list() == [six + timedelta(hours=23)]
    assert "not midnight or 06:00" in check(datetime(2018, 3, 24, 5)).refused["reason"].item()
