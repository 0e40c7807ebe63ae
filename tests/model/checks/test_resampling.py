"""Aggregation of finer periods: only complete periods are aggregated, and no row is lost or counted twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from flows.settings.feed import Checks
from model.checks.feed_rows import check_rows
from model.timegrid import TimeGrid
from tests.support.finer_feeds import (
    HOUR,
    HOURS,
    LATE,
    MINUTE,
    aggregate,
    feed_rows,
    feed_shape,
    instants,
    refusal_reasons,
)

Utc = Callable[..., datetime]


@pytest.mark.parametrize(("method", "value"), [("mean", 25.0), ("sum", 100.0), ("last", 40.0)])
def test_european_prices_change_to_quarters(utc: Utc, method: str, value: float) -> None:
    """Prices were hourly until 2025-09-30 and quarter-hourly from then on. Both become hours."""
    hours, quarters = instants(utc(2025, 9, 30), HOUR, 24), instants(utc(2025, 10, 1), 15 * MINUTE, 96)
    frame = feed_rows([*hours, *quarters], [7.0] * 24 + [10.0, 20.0, 30.0, 40.0] * 24)
    result = aggregate(frame, method, available_after=timedelta(minutes=5))
    assert result.refused.is_empty()
    assert result.aggregated == 72
    assert result.accepted["valid_time"].to_list() == instants(utc(2025, 9, 30), HOUR, 48)
    assert result.accepted["y"].to_list() == [7.0] * 24 + [value] * 24
    known = result.accepted["available_at"] - result.accepted["valid_time"]
    assert known.unique().to_list() == [timedelta(minutes=65)]


def test_finer_rows_are_refused_without_resample(utc: Utc) -> None:
    frame = feed_rows(instants(utc(2025, 10, 1), 15 * MINUTE, 8))
    result = check_rows(frame, feed_shape(None), HOURS, (None, None), LATE)
    assert (len(result.accepted), len(result.refused), result.read) == (0, 8, 8)


def test_holes_are_never_filled(utc: Utc) -> None:
    """One quarter is no hourly value, and the first and third quarter are no half hours."""
    times = instants(utc(2025, 10, 1), 15 * MINUTE, 40)
    missing = {17, 18, 19, 21, 23, 26}
    result = aggregate(feed_rows([t for i, t in enumerate(times) if i not in missing]), "mean")
    assert result.accepted["valid_time"].to_list() == [utc(2025, 10, 1, h) for h in (0, 1, 2, 3, 7, 8, 9)]
    assert result.refused["reason"].to_list() == (
        ["1 of 4 values within 1h"] + ["2 of 4 values within 1h"] * 2 + ["3 of 4 values within 1h"] * 3
    )


def test_newest_period_waits_for_its_end(utc: Utc) -> None:
    times = instants(utc(2025, 10, 1), 15 * MINUTE, 15)
    result = aggregate(feed_rows(times))
    assert (len(result.accepted), result.later, len(result.refused)) == (3, 3, 0)
    assert len(aggregate(feed_rows([*times, utc(2025, 10, 1, 3, 45)])).accepted) == 4
    # A period that lacks an earlier part will not become complete.
    assert refusal_reasons(aggregate(feed_rows(times[:13] + times[14:]))) == {"2 of 4 values within 1h"}
    # Once the next period has begun, missing parts do not arrive any more.
    result = aggregate(feed_rows([*times, utc(2025, 10, 1, 4)]))
    assert (refusal_reasons(result), result.later) == ({"3 of 4 values within 1h"}, 1)


def test_rows_that_are_not_available_yet_wait(utc: Utc) -> None:
    times = instants(utc(2025, 10, 1), 15 * MINUTE, 16)
    result = aggregate(feed_rows(times), as_of=utc(2025, 10, 1, 3, 30))
    assert (len(result.accepted), result.later) == (3, 4)
    frame = feed_rows(times, known=[t + 15 * MINUTE for t in times])
    result = aggregate(frame, available_at="known", as_of=utc(2025, 10, 1, 2, 30))
    assert (len(result.accepted), result.later, len(result.refused)) == (2, 8, 0)
    assert result.accepted["available_at"].to_list() == [utc(2025, 10, 1, 1), utc(2025, 10, 1, 2)]


def test_missing_values(utc: Utc) -> None:
    """A period without any value is missing, which is information. One with some values cannot be aggregated."""
    values = [1.0] * 4 + [None] * 4 + [1.0, None, 1.0, float("nan")]
    result = aggregate(feed_rows(instants(utc(2025, 10, 1), 15 * MINUTE, 12), values))
    assert result.accepted["y"].to_list() == [4.0, None]
    assert refusal_reasons(result) == {"2 of 4 values of y within 1h"}


def test_bounds_apply_to_sums_and_to_parts_of_means(utc: Utc) -> None:
    times, values = instants(utc(2025, 10, 1), 15 * MINUTE, 12), [30.0] * 4 + [10.0] * 4 + [30.0] * 4
    result = aggregate(feed_rows(times, values), "sum", bounds=(100.0, None))
    assert result.accepted["y"].to_list() == [120.0, 120.0]
    assert refusal_reasons(result) == {"the sum of y is below the bound 100.0, got 40.0"}
    values[5] = 900.0
    result = aggregate(feed_rows(times, values), "mean", bounds=(0.0, 100.0))
    assert result.accepted["y"].to_list() == [30.0, 30.0]
    assert refusal_reasons(result) == {"y is above the bound 100.0, got 900.0", "3 of 4 values within 1h"}


def test_check_of_series_quarantines_all_parts(utc: Utc) -> None:
    values = np.tile(np.sin(np.arange(96) / 15) + 10, 40)
    values[400:404] = 1000.0
    frame = feed_rows(instants(utc(2025, 8, 1), 15 * MINUTE, len(values)), values)
    result = check_rows(
        frame, feed_shape("mean"), HOURS, (0.0, None), LATE, 168, Checks(spike="quarantine").model_dump()
    )
    assert result.refused["y"].to_list() == [1000.0] * 4
    assert result.refused["reason"].str.starts_with("spike: ").all()
    assert (result.read, len(result.accepted)) == (len(values), len(values) // 4 - 1)


def test_rows_that_are_no_part(utc: Utc) -> None:
    times = [*instants(utc(2025, 10, 1), 15 * MINUTE, 12), utc(2025, 10, 1, 1, 17), utc(2025, 10, 1, 0, 30)]
    result = aggregate(feed_rows([str(t)[:16] for t in times] + ["soon"]))
    assert len(result.accepted) == 3
    assert refusal_reasons(result) == {
        "time is not on the 5m grid",
        "t is not a time, got 'soon'",
        "duplicate: a later row of the feed has the same series and time",
    }
    assert result.accepted["y"][0] == 1 + 2 + 14 + 4


@pytest.mark.parametrize(("day", "hours"), [("2018-03-25", 23), ("2018-06-01", 24), ("2018-10-28", 25)])
@pytest.mark.parametrize("part", [60, 30, 15, 5])
@pytest.mark.parametrize("start", [0, 6])
def test_local_days(day: str, hours: int, part: int, start: int) -> None:
    """A local day has 23, 24 or 25 hours, or 46, 48 or 50 half hours. A gas day has as many."""
    grid = TimeGrid("1d", "Europe/Madrid", None, start * 3_600_000_000)
    zone = ZoneInfo("Europe/Madrid")
    # The clock change belongs to the gas day before.
    local_date = date.fromisoformat(day) - timedelta(days=start > 0)
    first = datetime.combine(local_date, time(start), zone).astimezone(UTC)
    count = hours * 60 // part
    times_utc = instants(first, part * MINUTE, count)
    wall = [t.astimezone(zone).replace(tzinfo=None) for t in times_utc]
    for times, zone_name in ((times_utc, "UTC"), (wall, "Europe/Madrid")):
        result = aggregate(feed_rows(times, [1.0] * count), grid=grid, time_zone=zone_name)
        assert result.accepted["valid_time"].to_list() == [first]
        assert result.accepted["y"].to_list() == [count]
        assert result.accepted["available_at"].to_list() == [first + timedelta(hours=hours)]
        assert refusal_reasons(
            aggregate(feed_rows(times[1:], [1.0] * (count - 1)), grid=grid, time_zone=zone_name)
        ) == {f"{count - 1} of {count} values within 1d"}


def test_resolution_is_found_by_series(utc: Utc) -> None:
    """One series has hours, another quarters, and a third half hours."""
    first, parts = utc(2025, 10, 1), {"a": 60, "b": 15, "c": 30}
    frames = [
        feed_rows(instants(first, part * MINUTE, 12 * 60 // part), [float(part)] * (12 * 60 // part)).with_columns(
            id=pl.lit(name)
        )
        for name, part in parts.items()
    ]
    result = aggregate(pl.concat(frames).sample(fraction=1.0, shuffle=True, seed=1))
    assert result.accepted.group_by("series_id").len().sort("series_id").rows() == [("a", 12), ("b", 12), ("c", 12)]
    assert result.accepted["y"].unique().to_list() == [60.0]


def test_shared_covariates_without_availability(utc: Utc) -> None:
    frame = feed_rows(instants(utc(2025, 10, 1), 30 * MINUTE, 48)).with_columns(period=pl.col("y") * 2)
    result = aggregate(frame, "mean", role="known_future", series_id=None, values=("y", "period"))
    assert len(result.accepted) == 24
    assert result.accepted["available_at"].null_count() == result.accepted["series_id"].null_count() == 24
    assert (result.accepted["period"] == 2 * result.accepted["y"]).all()


def test_feed_without_a_usable_row() -> None:
    result = aggregate(feed_rows(["x", "y"]))
    assert (len(result.accepted), len(result.refused)) == (0, 2)
