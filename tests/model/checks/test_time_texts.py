"""Times as people write them: ISO 8601 without a declaration, any other form only with one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checks.feed_rows import CheckedRows, check_rows
from model.checks.text_format import TextFormat
from model.checks.time_texts import check_format, parse_times
from model.timegrid import TimeGrid
from storage.schemas import DataError
from tests.model.checks.test_feed_rows import LATE, MADRID, feed_rows, feed_shape

Utc = Callable[..., datetime]
HOURS = TimeGrid("1h", "UTC", None)


def check(times: list[Any], *formats: str, grid: TimeGrid = HOURS, **shape: Any) -> CheckedRows:
    feed = feed_shape(text=TextFormat(time_formats=formats), **{"time_zone": "UTC"} | shape)
    return check_rows(feed_rows(times), feed, grid, (None, None), LATE)


@pytest.mark.parametrize(
    "text",
    [
        "2018-09-01 02:00:00+02", "2018-09-01T02:00+0200", "2018-09-01 02:00:00.000+02:00", "2018-09-01T00:00:00Z",
        "2018-09-01T00:00Z", "2018-09-01 00:00:00", "2018-09-01T00:00", " 2018-09-01 00:00 ", "2018-09-01",
        "2018-08-31 16:30-07:30",
    ],
)  # fmt: skip
def test_forms_without_a_declaration(text: str, utc: Utc) -> None:
    assert check([text]).accepted["valid_time"].to_list() == [utc(2018, 9, 1)]


def test_each_cell_is_read_by_its_own_form(utc: Utc) -> None:
    """A row of units, instants and wall-clock times may be in one column."""
    times = ["UTC", "2018-07-01T00:00:00Z", "2018-07-01 03:00", "2018-07-01T02:00:00+00", None, "01/07/2018 03:00"]
    result = check(times, time_zone="Europe/Madrid", grid=MADRID)
    assert result.accepted["valid_time"].to_list() == [utc(2018, 7, 1, h) for h in (0, 1, 2)]
    assert result.refused["reason"].to_list() == [
        "t is not a time, got 'UTC'", "t is empty", "t is not a time, got '01/07/2018 03:00'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "form"),
    [
        ("13/09/2018 14:00", "%d/%m/%Y %H:%M"), ("09/13/18 02:00 PM", "%m/%d/%y %I:%M %p"), ("1536847200", "epoch_s"),
        (1536847200, "epoch_s"), (1536847200000, "epoch_ms"), (1536847200000.0, "epoch_ms"), ("2018091314", "%Y%m%d%H"),
        ("13.09.2018 16:00 +02:00", "%d.%m.%Y %H:%M %z"), ("2018-09-13T14:00Z", "iso"),
    ],
)  # fmt: skip
def test_declared_forms(cell: object, form: str, utc: Utc) -> None:
    assert check_format(form) is None
    assert check([cell], form).accepted["valid_time"].to_list() == [utc(2018, 9, 13, 14)]


def test_another_form_than_the_declared_one_is_refused() -> None:
    result = check(["13/09/2018 14:00", "09/13/2018 15:00", "2018-09-13 16:00"], "%d/%m/%Y %H:%M")
    assert len(result.accepted) == 1 and len(result.refused) == 2
    # Both forms are declared, and the cell fits both with different days.
    result = check(["13/09/2018 14:00", "10/09/2018 14:00"], "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M")
    assert len(result.accepted) == 1
    (reason,) = result.refused["reason"]
    assert "another time in each of several formats of options.time_format" in reason and "keep only the one" in reason
    # Seconds that are declared as milliseconds would be a day of 1970.
    assert "too small" in check([1536847200], "epoch_ms").refused["reason"].item()


def test_seconds_and_milliseconds_in_one_feed_differ_by_their_size(utc: Utc) -> None:
    times = check([1535760000, 1535763600000], "epoch_s", "epoch_ms").accepted["valid_time"]
    assert times.to_list() == [utc(2018, 9, 1), utc(2018, 9, 1, 1)]


def test_numbers_without_a_declaration_are_an_error_with_the_format() -> None:
    with pytest.raises(DataError, match=r"'t' has type Int64 \(first: 1535760000000\).*time_format = \"epoch_ms\""):
        check([1535760000000])
    with pytest.raises(DataError, match=r"options\.time_format has no meaning; remove it"):
        check([datetime(2018, 9, 1)], "epoch_s")


@pytest.mark.parametrize("form", ["%H:%M", "day", "%Y-%m-%d %H:%M %Z", "%Y-%m", ""])
def test_formats_that_cannot_be_used(form: str) -> None:
    assert check_format(form)


def test_end_of_the_day(utc: Utc) -> None:
    times = ["2018-09-01 23:00", "2018-09-01 24:00", "2018-09-02 01:00"]
    starts = [utc(2018, 9, 1, 22), utc(2018, 9, 1, 23), utc(2018, 9, 2)]
    assert check(times, label="end").accepted["valid_time"].to_list() == starts
    with pytest.raises(DataError, match=r"'2018-09-01 24:00' in row 2, .* label = \"end\""):
        check(times)
    day = TimeGrid("1d", "UTC", None)
    assert check(["2018-09-01 24:00"], label="end", grid=day).accepted["valid_time"].to_list() == [utc(2018, 9, 1)]


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d %H", "%d.%m.%Y %H", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y-%m-%dT%H"]
)
def test_the_24th_hour_of_any_format_is_an_end(form: str, utc: Utc) -> None:
    ends = [datetime(2018, 9, 24) + timedelta(hours=hour) for hour in range(1, 49)]
    texts = [
        end.strftime(form) if end.hour else (end - timedelta(days=1)).strftime(form.replace("%H", "24")) for end in ends
    ]
    result = check(texts, form, label="end")
    assert result.accepted["valid_time"].to_list() == [utc(2018, 9, 24) + timedelta(hours=hour) for hour in range(48)]
    with pytest.raises(DataError, match=r" in row 24, .* label = \"end\""):
        check(texts, form)


def test_a_day_of_24_is_no_end() -> None:
    assert check(["2018 09 24", "2018 09 25", "x 24"], "%Y %m %d").accepted["valid_time"].dt.day().to_list() == [24, 25]


@pytest.mark.parametrize(("form", "right"), [("%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M"), ("%d.%m.%y", "%m.%d.%y")])
def test_day_and_month_in_the_wrong_order_are_an_error(form: str, right: str) -> None:
    times = [(datetime(2018, 9, 1) + timedelta(days=day)).strftime(right) for day in range(20)]
    assert len(check(times, right).accepted) == 20
    with pytest.raises(DataError, match=r"in row 13, which is no time of .*Set time_format"):
        check(times, form)
    assert len(check([*times, "someday"], right).refused) == 1


def test_ends_of_hours_at_a_clock_change(utc: Utc) -> None:
    """Hours may be numbered by the clock at their beginning, or named by the clock at their end."""
    expected = [utc(2018, 10, 27, 22), utc(2018, 10, 27, 23), *(utc(2018, 10, 28, h) for h in range(3))]
    for hours in ((1, 2, 3, 3, 4), (1, 2, 2, 3, 4)):
        times = [f"2018-10-28 {h:02d}:00" for h in hours]
        result = check(times, label="end", time_zone="Europe/Madrid", grid=MADRID)
        assert result.accepted["valid_time"].to_list() == expected, hours
    spring = [utc(2018, 3, 24, 23), *(utc(2018, 3, 25, h) for h in range(3))]
    for in_spring in ((1, 2, 4, 5), (1, 3, 4, 5)):
        times = [f"2018-03-25 {h:02d}:00" for h in in_spring]
        result = check(times, label="end", time_zone="Europe/Madrid", grid=MADRID)
        assert result.accepted["valid_time"].to_list() == spring, in_spring


def test_ends_of_finer_periods(utc: Utc) -> None:
    first = datetime(2018, 9, 1, 0, 15)
    times = [str(first + number * timedelta(minutes=15)) for number in range(16)]
    result = check(times, label="end", resample="mean", period=timedelta(minutes=15))
    assert result.accepted["valid_time"].to_list() == [utc(2018, 9, 1, h) for h in range(4)]


@pytest.mark.parametrize("cell", ["2018-09-01", date(2018, 9, 1), "2018-09-01 24:00", "01.09.2018"])
def test_a_date_without_a_time_is_known_when_the_day_ends(cell: object, utc: Utc) -> None:
    formats = ("%d.%m.%Y", "iso") if cell == "01.09.2018" else ()
    rows = feed_rows(["2018-09-01 10:00"]).with_columns(known=pl.Series([cell]))
    feed = feed_shape(available_at="known", text=TextFormat(time_formats=formats))
    assert check_rows(rows, feed, MADRID, (None, None), LATE).accepted["available_at"].to_list() == [
        utc(2018, 9, 1, 22)
    ]


def test_a_day_whose_end_a_clock_change_skips(utc: Utc) -> None:
    """Clocks in Chile go forward at midnight, so the day ends at 1:00."""
    rows = feed_rows(["2018-08-11 10:00"]).with_columns(known=pl.lit("2018-08-11"))
    feed = feed_shape(available_at="known", time_zone="America/Santiago")
    result = check_rows(rows, feed, MADRID, (None, None), LATE)
    assert result.accepted["available_at"].to_list() == [utc(2018, 8, 12, 4)]


def test_a_value_that_is_known_too_early(utc: Utc) -> None:
    rows = feed_rows(["2018-09-01 10:00", "2018-09-01 11:00"]).with_columns(known=pl.lit("2018-09-01T09:30Z"))
    feed = {"available_at": "known", "time_zone": "Europe/Madrid"}
    refused = check_rows(rows, feed_shape(early="refuse", **feed), MADRID, (None, None), LATE)
    assert refused.accepted["valid_time"].to_list() == [utc(2018, 9, 1, 8)]
    assert refused.refused["reason"].to_list() == ['known is before the period ends (see the key "early" of the feed)']
    warned = check_rows(rows, feed_shape(early="warn", **feed), MADRID, (None, None), LATE)
    assert len(warned.accepted) == 2 and warned.findings[0].detail.startswith("1 values are known too early")
    for shape in (feed_shape(early="accept", **feed), feed_shape(early="refuse", role="known_future", **feed)):
        assert check_rows(rows, shape, MADRID, (None, None), LATE).refused.is_empty()


def test_dates_that_became_midnights_are_reported() -> None:
    days = [datetime(2018, 9, day) for day in (2, 3, 4)]
    rows = feed_rows([day - timedelta(hours=12) for day in days])
    feed = feed_shape(available_at="known")
    for known, is_reported in (
        (pl.Series(days), True),
        (pl.Series(days).dt.strftime("%Y-%m-%d %H:%M"), True),
        (pl.Series(days).dt.offset_by("5m"), False),
        (pl.Series(days).dt.date(), False),
        (pl.Series(days).dt.strftime("%Y-%m-%d"), False),
        (pl.Series(days[:1] * 3), False),
    ):
        result = check_rows(rows.with_columns(known=known), feed, MADRID, (None, None), LATE)
        assert [finding.check for finding in result.findings] == ["available_at"] * is_reported, known
    in_offset = feed_shape(available_at="known", time_zone="-05:00")
    midnights = rows.with_columns(known=pl.Series(days).dt.offset_by("5h").dt.replace_time_zone("UTC"))
    (finding,) = check_rows(midnights, in_offset, MADRID, (None, None), LATE).findings
    assert "midnight in -05:00" in finding.detail


def test_a_closing_price_is_known_before_its_day_ends() -> None:
    rows = feed_rows(["2018-09-04", "2018-09-05"]).with_columns(known=pl.lit("2018-09-04 17:30"))
    feed = feed_shape(available_at="known", early="refuse", time_zone="America/New_York")
    result = check_rows(rows, feed, TimeGrid("1b", "America/New_York", "NYSE"), (None, None), LATE)
    assert (len(result.accepted), len(result.refused)) == (1, 1)


FORMS = {
    "%Y-%m-%d %H:%M": None, "%Y-%m-%dT%H:%M:%S": None, "%Y-%m-%dT%H:%M:%SZ": None, "%Y-%m-%d %H:%M:%S+00": None,
    "%d/%m/%Y %H:%M": "%d/%m/%Y %H:%M", "%s": "epoch_s",
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)).map(lambda t: t.replace(second=0, microsecond=0)),
            st.sampled_from(list(FORMS)),
        ),
        min_size=1, max_size=8,
    ),
    st.sampled_from([None, "%d/%m/%Y %H:%M", "epoch_s"]),
)  # fmt: skip
def test_a_cell_is_its_own_instant_or_refused(cells: list[tuple[datetime, str]], declared: str | None) -> None:
    texts = pl.Series([t.replace(tzinfo=UTC).strftime(form) for t, form in cells])
    times, _ = parse_times(texts, (declared,) if declared else ())
    parts = [part.dt.replace_time_zone("UTC") for part in (times.local, times.instants) if part is not None]
    parsed = [next((part[i] for part in parts if part[i] is not None), None) for i in range(len(cells))]
    assert parsed == [t.replace(tzinfo=UTC) if FORMS[form] == declared else None for t, form in cells]
