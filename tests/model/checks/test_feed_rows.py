"""Classification of feed rows: accepted, later or refused with a reason, and never lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checks.feed_rows import check_rows
from model.checks.feed_shape import FeedShape
from model.checks.reasons import advice
from model.timegrid import TimeGrid, default_offset
from storage.schemas import DataError
from storage.schemas.records import Action
from tests.support.examples import examples

Utc = Callable[..., datetime]

ACCEPT_ALL: dict[str, Action] = dict.fromkeys(
    ("flat_line", "spike", "dropout", "level_jump", "repeated_block", "stopped", "same_series", "renamed"), "accept"
)
LATE = datetime(2100, 1, 1, tzinfo=UTC)
MADRID = TimeGrid("1h", "Europe/Madrid", None)


def feed_shape(**changes: Any) -> FeedShape:
    defaults: dict[str, Any] = {
        "name": "demand", "role": "target", "series_id": "id", "valid_time": "t", "values": ("y",),
        "time_zone": "Europe/Madrid", "available_after": timedelta(0), "available_at": None,
    }  # fmt: skip
    return FeedShape(**defaults | changes)


def feed_rows(times: Sequence[object], values: Sequence[object] | None = None, ids: str = "a") -> pl.DataFrame:
    return pl.DataFrame({"id": ids, "t": times, "y": [1.0] * len(times) if values is None else values})


def test_naive_times_are_local_and_known_after_their_period(utc: Utc) -> None:
    result = check_rows(
        feed_rows([datetime(2018, 7, 1, 0)]), feed_shape(available_after=timedelta(hours=2)), MADRID, (None, None), LATE
    )
    assert result.accepted.row(0) == ("a", utc(2018, 6, 30, 22), utc(2018, 7, 1, 1), 1.0)


def test_skipped_local_hour_is_refused() -> None:
    result = check_rows(
        feed_rows([datetime(2018, 3, 25, h) for h in (1, 2, 3)]), feed_shape(), MADRID, (None, None), LATE
    )
    assert len(result.accepted) == 2
    assert "does not exist in Europe/Madrid" in result.refused["reason"].item()


def test_repeated_local_hour_is_two_instants(utc: Utc) -> None:
    result = check_rows(
        feed_rows([datetime(2018, 10, 28, h) for h in (1, 2, 2, 3)], [1.0, 2.0, 3.0, 4.0]),
        feed_shape(),
        MADRID,
        (None, None),
        LATE,
    )
    assert result.accepted["valid_time"].to_list() == [
        utc(2018, 10, 27, 23),
        utc(2018, 10, 28),
        utc(2018, 10, 28, 1),
        utc(2018, 10, 28, 2),
    ]
    assert result.accepted["y"].to_list() == [1.0, 2.0, 3.0, 4.0]


def test_refusal_reasons() -> None:
    table = pl.DataFrame(
        {
            "id": ["a", None, "a", "a", "a", "a", "a", "a"],
            "t": [
                "2018-07-01 00:00", "2018-07-01 00:00", "soon", "2018-07-01 00:17", "2018-07-01T01:00:00",
                "2018-07-01 02:00", "2018-07-01 03:00", "2018-07-01 03:00",
            ],
            "y": ["1", "1", "1", "1", "-3", "inf", "4", "5"],
        }
    )  # fmt: skip
    result = check_rows(table, feed_shape(), MADRID, (0.0, None), LATE)
    assert result.accepted["y"].to_list() == [1.0, 5.0]
    assert result.refused["reason"].to_list() == [
        "id is empty",
        "t is not a time, got 'soon'",
        "time is not on the 1h grid",
        "y is below the bound 0.0, got -3.0",
        "y is infinite",
        "duplicate: a later row of the feed has the same series and time",
    ]
    assert result.refused.columns == ["id", "t", "y", "reason"]


def test_missing_values_are_accepted() -> None:
    result = check_rows(
        feed_rows([datetime(2018, 7, 1, h) for h in range(3)], [1.0, None, float("nan")]),
        feed_shape(),
        MADRID,
        (0.0, None),
        LATE,
    )
    assert result.accepted["y"].to_list() == [1.0, None, None]


def test_rows_that_are_not_available_yet_are_counted(utc: Utc) -> None:
    times = [datetime(2018, 7, 1, h) for h in range(4)]
    result = check_rows(feed_rows(times), feed_shape(time_zone="UTC"), MADRID, (None, None), utc(2018, 7, 1, 2))
    assert (len(result.accepted), result.later) == (2, 2)


def test_days_are_named_by_their_date(utc: Utc) -> None:
    grid = TimeGrid("1d", "Europe/Madrid", None)
    day = utc(2018, 6, 30, 22)
    for times in ([datetime(2018, 7, 1)], [datetime(2018, 7, 1).date()], [day], ["2018-07-01"]):
        result = check_rows(feed_rows(times), feed_shape(time_zone="UTC"), grid, (None, None), LATE)
        assert result.accepted["valid_time"].to_list() == [day], times
        assert result.accepted["available_at"].to_list() == [day + timedelta(days=1)]
    refused = check_rows(feed_rows([datetime(2018, 7, 1, 6)]), feed_shape(), grid, (None, None), LATE).refused
    assert "not midnight" in refused["reason"].item()


@pytest.mark.parametrize(("zone", "minutes"), [("Asia/Kolkata", 30), ("Asia/Kathmandu", 15)])
def test_hours_of_a_zone_that_is_not_on_whole_hours(utc: Utc, zone: str, minutes: int) -> None:
    grid = TimeGrid("1h", zone, None, offset=default_offset("1h", zone))
    hours = [datetime(2018, 9, 1, h) for h in range(3)]
    offset = datetime(2018, 9, 1, tzinfo=ZoneInfo(zone)).isoformat()[19:]
    quarter = datetime(2018, 9, 1, 3, 15)
    for times in ([*hours, quarter], [f"{t.isoformat()}{offset}" for t in (*hours, quarter)]):
        result = check_rows(feed_rows(times), feed_shape(time_zone=zone), grid, (None, None), LATE)
        assert result.accepted["valid_time"][0] == utc(2018, 8, 31, 18, minutes)
        assert len(result.accepted) == 3
    result = check_rows(feed_rows(hours), feed_shape(time_zone="UTC"), grid, (None, None), LATE)
    assert 'set pipeline.grid_offset = "0m"' in result.refused["reason"][0]
    assert advice(result.reasons[0]) == ""


def test_first_quarter_is_not_the_hour(utc: Utc) -> None:
    """If a feed changes from 60 to 15 minutes, all quarters are refused, and the first one does not become the hour."""
    hours = [datetime(2025, 9, 30, h) for h in (21, 22, 23)]
    quarters = [datetime(2025, 10, 1, 0, minute) for minute in (0, 15, 30, 45)]
    result = check_rows(feed_rows([*hours, *quarters]), feed_shape(time_zone="UTC"), MADRID, (None, None), LATE)
    assert result.accepted["valid_time"].to_list() == [utc(2025, 9, 30, h) for h in (21, 22, 23)]
    reasons = result.refused["reason"].to_list()
    assert reasons[0] == "one of several values within 1h: the feed has finer steps here (see resample)"
    assert reasons[1:] == ["time is not on the 1h grid"] * 3
    other = check_rows(
        pl.concat([feed_rows(quarters, ids="a"), feed_rows(quarters[:1], ids="b")]),
        feed_shape(),
        MADRID,
        (None, None),
        LATE,
    )
    assert other.accepted["series_id"].to_list() == ["b"]


def test_market_holidays_are_refused() -> None:
    grid = TimeGrid("1b", "America/New_York", "NYSE")
    result = check_rows(
        feed_rows([datetime(2018, 12, 24), datetime(2018, 12, 25), datetime(2018, 12, 29)]),
        feed_shape(),
        grid,
        (None, None),
        LATE,
    )
    assert len(result.accepted) == 1
    assert result.refused["reason"].to_list() == ["not a business day of NYSE"] * 2


def test_columns_of_wrong_types() -> None:
    with pytest.raises(DataError, match="'y' holds text"):
        check_rows(feed_rows([datetime(2018, 7, 1)], ["high"]), feed_shape(), MADRID, (None, None), LATE)
    with pytest.raises(DataError, match="'t' has type Int64"):
        check_rows(feed_rows([1]), feed_shape(), MADRID, (None, None), LATE)
    nested = feed_rows([datetime(2018, 10, 28, h) for h in (1, 2, 2, 3)]).with_columns(id=pl.lit([1]))
    with pytest.raises(DataError, match="series_id needs text or numbers"):
        check_rows(nested, feed_shape(), MADRID, (None, None), LATE)
    with pytest.raises(DataError, match="no rows"):
        check_rows(feed_rows([datetime(2018, 7, 1)]).clear(), feed_shape(), MADRID, (None, None), LATE)


cells = st.one_of(st.none(), st.floats(), st.floats(-5, 5).map(str), st.sampled_from(["", "x", " 1 "])).map(
    lambda v: None if v is None else str(v)
)
times = st.one_of(st.none(), st.datetimes(datetime(2017, 1, 1), datetime(2019, 1, 1)).map(str), st.text(max_size=5))


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "", None]), times, cells), min_size=1, max_size=12))
def test_no_row_is_lost(table: list[tuple[str | None, str | None, str | None]]) -> None:
    frame = pl.DataFrame(table, schema={"id": pl.String, "t": pl.String, "y": pl.String}, orient="row")
    as_of = datetime(2018, 1, 1, tzinfo=UTC)
    try:
        result = check_rows(frame, feed_shape(), MADRID, (0.0, None), as_of)
    except DataError:
        return
    assert len(result.accepted) + len(result.refused) + result.later == len(frame)
    assert result.refused["reason"].null_count() == 0
    assert (result.accepted["available_at"] <= as_of).all()


@pytest.mark.parametrize("year", [-3, 1, 1799, 2200, 9999, 12018])
def test_time_out_of_range_is_refused(year: int) -> None:
    """Years that Python has no date for must not stop the check of other rows."""
    times = ["2018-07-01T00:00", f"{year:04d}-07-01T00:00" if year < 10_000 else f"+{year}-07-01T00:00"]
    for grid in (MADRID, TimeGrid("1d", "Europe/Madrid", None), TimeGrid("1b", "Europe/Madrid", "ES")):
        known_future = feed_shape(role="known_future", time_zone="UTC")
        result = check_rows(feed_rows(times), known_future, grid, (None, None), LATE, 1, {**ACCEPT_ALL, "gap": "warn"})
        assert len(result.accepted) + len(result.refused) == 2
        assert result.refused["t"].to_list()[-1] == times[1]


def test_availability_out_of_range() -> None:
    table = feed_rows(["2018-07-01T00:00"] * 2).with_columns(known=pl.Series(["0001-01-01T00:00", "9999-01-01T00:00"]))
    result = check_rows(table, feed_shape(available_at="known", time_zone="UTC"), MADRID, (None, None), LATE)
    assert result.refused["reason"].to_list() == ["known: time is before 1800 or after 2199"]
    assert (len(result.accepted), result.later) == (0, 1)


def test_value_beyond_single_precision_is_refused() -> None:
    times = [datetime(2018, 7, 1, h) for h in range(4)]
    for sign in (1, -1):
        result = check_rows(
            feed_rows(times, [sign * 3e38, sign * 1e39, sign * 1e308, sign * float("inf")]),
            feed_shape(),
            MADRID,
            (None, None),
            LATE,
        )
        assert result.accepted["y"].to_list() == [sign * 3e38]
        beyond, further, infinite = result.refused["reason"].to_list()
        assert "beyond single precision" in beyond
        assert "beyond single precision" in further
        assert infinite == "y is infinite"


@pytest.mark.parametrize("column", [[b"a"], [timedelta(1)], [["a"]], [{"a": "b"}]])
def test_ids_of_wrong_types(column: list[object]) -> None:
    table = pl.DataFrame({"id": column, "t": [datetime(2018, 7, 1)], "y": [1.0]})
    with pytest.raises(DataError, match=r"column 'id' has type .* series_id needs text"):
        check_rows(table, feed_shape(), MADRID, (None, None), LATE)
