"""What a feed's rows become: accepted, later or refused with a reason, and never lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checks.feed_rows import check_rows
from model.checks.feed_shape import FeedShape
from model.timegrid import TimeGrid
from storage.schemas import DataError

QUIET = dict.fromkeys(
    ("flat_line", "spike", "dropout", "level_jump", "repeated_block", "stopped", "same_series"), "accept"
)
LATE = datetime(2100, 1, 1, tzinfo=UTC)
MADRID = TimeGrid("1h", "Europe/Madrid", None)


def shape(**changes) -> FeedShape:
    given = {
        "name": "demand", "role": "target", "series_id": "id", "valid_time": "t", "values": ("y",),
        "time_zone": "Europe/Madrid", "available_after": timedelta(0), "available_at": None,
    }  # fmt: skip
    return FeedShape(**given | changes)


def rows(times, values=None, ids="a") -> pl.DataFrame:
    return pl.DataFrame({"id": ids, "t": times, "y": [1.0] * len(times) if values is None else values})


def test_naive_times_are_local_and_known_after_their_period(utc):
    result = check_rows(
        rows([datetime(2018, 7, 1, 0)]), shape(available_after=timedelta(hours=2)), MADRID, (None, None), LATE
    )
    assert result.accepted.row(0) == ("a", utc(2018, 6, 30, 22), utc(2018, 7, 1, 1), 1.0)


def test_a_skipped_local_hour_is_refused():
    result = check_rows(rows([datetime(2018, 3, 25, h) for h in (1, 2, 3)]), shape(), MADRID, (None, None), LATE)
    assert len(result.accepted) == 2
    assert "does not exist in Europe/Madrid" in result.refused["reason"].item()


def test_a_repeated_local_hour_is_two_instants(utc):
    result = check_rows(
        rows([datetime(2018, 10, 28, h) for h in (1, 2, 2, 3)], [1.0, 2.0, 3.0, 4.0]),
        shape(),
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


def test_reasons():
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
    result = check_rows(table, shape(), MADRID, (0.0, None), LATE)
    assert result.accepted["y"].to_list() == [1.0, 5.0]
    assert result.refused["reason"].to_list() == [
        "id is empty",
        "t is not a time",
        "time is not on the 1h grid",
        "y is -3.0, below the bound 0.0",
        "y is infinite",
        "duplicate: a later row of the feed has the same series and time",
    ]
    assert result.refused.columns == ["id", "t", "y", "reason"]


def test_missing_values_are_information():
    result = check_rows(
        rows([datetime(2018, 7, 1, h) for h in range(3)], [1.0, None, float("nan")]),
        shape(),
        MADRID,
        (0.0, None),
        LATE,
    )
    assert result.accepted["y"].to_list() == [1.0, None, None]


def test_not_yet_available_is_later(utc):
    times = [datetime(2018, 7, 1, h) for h in range(4)]
    result = check_rows(rows(times), shape(time_zone="UTC"), MADRID, (None, None), utc(2018, 7, 1, 2))
    assert (len(result.accepted), result.later) == (2, 2)


def test_days_are_named_by_their_date(utc):
    grid = TimeGrid("1d", "Europe/Madrid", None)
    day = utc(2018, 6, 30, 22)
    for times in ([datetime(2018, 7, 1)], [datetime(2018, 7, 1).date()], [day], ["2018-07-01"]):
        result = check_rows(rows(times), shape(time_zone="UTC"), grid, (None, None), LATE)
        assert result.accepted["valid_time"].to_list() == [day], times
        assert result.accepted["available_at"].to_list() == [day + timedelta(days=1)]
    refused = check_rows(rows([datetime(2018, 7, 1, 6)]), shape(), grid, (None, None), LATE).refused
    assert "not midnight" in refused["reason"].item()


def test_the_first_quarter_is_not_the_hour(utc):
    """A feed that changes from 60 to 15 minutes: the hours of quarters are refused whole, not taken for their first."""
    hours = [datetime(2025, 9, 30, h) for h in (21, 22, 23)]
    quarters = [datetime(2025, 10, 1, 0, minute) for minute in (0, 15, 30, 45)]
    result = check_rows(rows([*hours, *quarters]), shape(time_zone="UTC"), MADRID, (None, None), LATE)
    assert result.accepted["valid_time"].to_list() == [utc(2025, 9, 30, h) for h in (21, 22, 23)]
    reasons = result.refused["reason"].to_list()
    assert reasons[0] == "one of several values within 1h: the feed has finer steps here (see resample)"
    assert reasons[1:] == ["time is not on the 1h grid"] * 3
    other = check_rows(
        pl.concat([rows(quarters, ids="a"), rows(quarters[:1], ids="b")]), shape(), MADRID, (None, None), LATE
    )
    assert other.accepted["series_id"].to_list() == ["b"]


def test_market_holidays_are_refused():
    grid = TimeGrid("1b", "America/New_York", "NYSE")
    result = check_rows(
        rows([datetime(2018, 12, 24), datetime(2018, 12, 25), datetime(2018, 12, 29)]),
        shape(),
        grid,
        (None, None),
        LATE,
    )
    assert len(result.accepted) == 1
    assert result.refused["reason"].to_list() == ["not a business day of NYSE"] * 2


def test_wrong_kinds_of_column():
    with pytest.raises(DataError, match="'y' holds text"):
        check_rows(rows([datetime(2018, 7, 1)], ["high"]), shape(), MADRID, (None, None), LATE)
    with pytest.raises(DataError, match="'t' has type Int64"):
        check_rows(rows([1]), shape(), MADRID, (None, None), LATE)
    with pytest.raises(DataError, match="no rows"):
        check_rows(rows([datetime(2018, 7, 1)]).clear(), shape(), MADRID, (None, None), LATE)


cell = st.one_of(st.none(), st.floats(), st.floats(-5, 5).map(str), st.sampled_from(["", "x", " 1 "])).map(
    lambda v: None if v is None else str(v)
)
when = st.one_of(st.none(), st.datetimes(datetime(2017, 1, 1), datetime(2019, 1, 1)).map(str), st.text(max_size=5))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "", None]), when, cell), min_size=1, max_size=12))
def test_no_row_vanishes(table):
    frame = pl.DataFrame(table, schema={"id": pl.String, "t": pl.String, "y": pl.String}, orient="row")
    as_of = datetime(2018, 1, 1, tzinfo=UTC)
    try:
        result = check_rows(frame, shape(), MADRID, (0.0, None), as_of)
    except DataError:
        return
    assert len(result.accepted) + len(result.refused) + result.later == len(frame)
    assert result.refused["reason"].null_count() == 0
    assert (result.accepted["available_at"] <= as_of).all()


@pytest.mark.parametrize("year", [-3, 1, 1799, 2200, 9999, 12018])
def test_a_time_of_no_age_is_refused(year):
    """Also those that Python has no date for: they must not stop the others."""
    times = ["2018-07-01T00:00", f"{year:04d}-07-01T00:00" if year < 10_000 else f"+{year}-07-01T00:00"]
    for grid in (MADRID, TimeGrid("1d", "Europe/Madrid", None), TimeGrid("1b", "Europe/Madrid", "ES")):
        known_future = shape(role="known_future", time_zone="UTC")
        result = check_rows(rows(times), known_future, grid, (None, None), LATE, 1, {"gap": "warn"} | QUIET)
        assert len(result.accepted) + len(result.refused) == 2
        assert result.refused["t"].to_list()[-1] == times[1]


def test_a_row_known_before_its_age_is_refused_and_one_of_the_far_future_is_later():
    table = rows(["2018-07-01T00:00"] * 2).with_columns(known=pl.Series(["0001-01-01T00:00", "9999-01-01T00:00"]))
    result = check_rows(table, shape(available_at="known", time_zone="UTC"), MADRID, (None, None), LATE)
    assert result.refused["reason"].to_list() == ["known: time is before 1800 or after 2199"]
    assert (len(result.accepted), result.later) == (0, 1)


def test_a_value_that_a_panel_cannot_hold_is_refused():
    times = [datetime(2018, 7, 1, h) for h in range(4)]
    for sign in (1, -1):
        result = check_rows(
            rows(times, [sign * 3e38, sign * 1e39, sign * 1e308, sign * float("inf")]),
            shape(),
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
def test_names_that_are_none(column):
    table = pl.DataFrame({"id": column, "t": [datetime(2018, 7, 1)], "y": [1.0]})
    with pytest.raises(DataError, match=r"column 'id' has type .* series_id needs text"):
        check_rows(table, shape(), MADRID, (None, None), LATE)
