"""Spread of coarser periods: an hour becomes quarters with its value, and none is known before the hour ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from model.checks.feed_rows import CheckedRows, check_rows
from model.timegrid import TimeGrid, default_offset
from tests.support.finer_feeds import HOUR, LATE, MINUTE, feed_rows, feed_shape, instants

Utc = Callable[..., datetime]
QUARTER = 15 * MINUTE
QUARTERS = TimeGrid("15m", "Europe/Prague", None)


def spread(
    frame: pl.DataFrame, method: str = "repeat", as_of: datetime = LATE, grid: TimeGrid = QUARTERS, **changes: Any
) -> CheckedRows:
    """Check a table whose coarser periods are spread."""
    return check_rows(frame, feed_shape(None, upsample=method, **changes), grid, (None, None), as_of)


@pytest.mark.parametrize(("method", "value"), [("repeat", 8.0), ("divide", 2.0)])
def test_european_prices_change_to_quarters(utc: Utc, method: str, value: float) -> None:
    """Prices were hourly until 2025-09-30 and quarter-hourly from then on. Both become quarters."""
    hours, quarters = instants(utc(2025, 9, 30), HOUR, 24), instants(utc(2025, 10, 1), QUARTER, 96)
    result = spread(feed_rows([*hours, *quarters], [8.0] * 24 + [1.0] * 96), method)
    assert (result.read, len(result.accepted), result.aggregated) == (192, 192, 0)
    assert result.accepted["valid_time"].to_list() == instants(utc(2025, 9, 30), QUARTER, 192)
    assert result.accepted["y"].to_list() == [value] * 96 + [1.0] * 96


def test_no_part_is_known_before_its_hour_ends(utc: Utc) -> None:
    frame = feed_rows([*instants(utc(2025, 9, 30), HOUR, 4), *instants(utc(2025, 9, 30, 4), QUARTER, 12)])
    result = spread(frame, available_after=timedelta(minutes=5))
    known = result.accepted["available_at"].to_list()
    assert known[:16] == [utc(2025, 9, 30, 1 + hour, 5) for hour in range(4) for _ in range(4)]
    assert known[16:18] == [utc(2025, 9, 30, 4, 20), utc(2025, 9, 30, 4, 35)]
    early = spread(frame, as_of=utc(2025, 9, 30, 3, 30))
    assert (len(early.accepted), early.later) == (12, 16)
    published = spread(frame.with_columns(p=pl.lit(utc(2025, 9, 29, 13))), available_at="p", early="accept").accepted[
        "available_at"
    ]
    assert published.unique().to_list() == [utc(2025, 9, 29, 13)]


def test_a_quarter_beside_missing_ones_is_no_hour(utc: Utc) -> None:
    times = instants(utc(2025, 10, 1), QUARTER, 40)
    missing = {17, 18, 19, 21, 22, 23}
    result = spread(feed_rows([t for i, t in enumerate(times) if i not in missing]))
    assert result.accepted["valid_time"].to_list() == [t for i, t in enumerate(times) if i not in missing]


def test_half_hours_and_zones_of_half_hours(utc: Utc) -> None:
    halves = spread(feed_rows(instants(utc(2025, 9, 30), 2 * QUARTER, 6), [3.0] * 6))
    assert halves.accepted["valid_time"].to_list() == instants(utc(2025, 9, 30), QUARTER, 12)
    zone = "Asia/Kolkata"
    grid = TimeGrid("30m", zone, None, offset=default_offset("30m", zone))
    local = [datetime(2025, 9, 30, hour) for hour in range(5)]
    result = spread(feed_rows(local), grid=grid, time_zone=zone)
    assert result.accepted["valid_time"].to_list() == instants(utc(2025, 9, 29, 18, 30), 2 * QUARTER, 10)


def test_hours_of_both_clock_changes(utc: Utc) -> None:
    for day, hours in ((datetime(2025, 3, 30), 23), (datetime(2025, 10, 26), 25)):
        local = pl.Series([day]).dt.replace_time_zone("Europe/Prague").dt.convert_time_zone("UTC")[0]
        times = pl.Series(instants(local, HOUR, hours)).dt.convert_time_zone("Europe/Prague").dt.replace_time_zone(None)
        result = spread(feed_rows(times.to_list()), time_zone="Europe/Prague")
        assert result.accepted["valid_time"].to_list() == instants(local, QUARTER, 4 * hours)
        assert result.refused.is_empty()


def test_refused_rows_name_the_row_of_the_source(utc: Utc) -> None:
    times = [t.strftime("%Y-%m-%d %H:%M") for t in instants(utc(2025, 9, 30), HOUR, 6)]
    result = spread(feed_rows([*times[:3], "tomorrow", *times[4:]], ["1", "2", "none", "4", "5", "6"]))
    assert len(result.accepted) == 16 and len(result.refused) == 5  # four quarters of row 3, and row 4
    examples = [group.example for group in result.reasons]
    assert any("row 3" in example for example in examples) and any("row 4" in example for example in examples)


def test_a_covariate_without_availability_stays_known(utc: Utc) -> None:
    result = spread(feed_rows(instants(utc(2025, 9, 30), HOUR, 4)), role="known_future")
    assert result.accepted["available_at"].null_count() == len(result.accepted) == 16
