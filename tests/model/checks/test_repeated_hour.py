"""Wall-clock times around a clock change: each stored instant holds its own value, or the row is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checks.feed_rows import CheckedRows, check_rows
from model.checks.feed_shape import FeedShape
from model.timegrid import TimeGrid
from storage.schemas import FILE
from tests.support.examples import examples

LATE = datetime(2100, 1, 1, tzinfo=UTC)
NEW_YORK = "America/New_York"
# The instant at which clocks go back, by zone. On Lord Howe Island they go back by half an hour.
CHANGES = {
    NEW_YORK: datetime(2018, 11, 4, 6, tzinfo=UTC),
    "Europe/Berlin": datetime(2018, 10, 28, 1, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2019, 4, 6, 15, tzinfo=UTC),
    "America/St_Johns": datetime(2006, 10, 29, 2, 30, tzinfo=UTC),
    "Atlantic/Azores": datetime(2018, 10, 28, 1, tzinfo=UTC),
}
HOUR = timedelta(hours=1)
#: 00:00 to 03:00 in New York on the day of the change, five hours.
NIGHT = [CHANGES[NEW_YORK] + i * HOUR for i in range(-2, 3)]

Rows = Sequence[tuple[str, datetime, datetime | None]]


def wall(instant: datetime, zone: str = NEW_YORK) -> datetime:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def table(rows: Rows, zone: str = NEW_YORK) -> pl.DataFrame:
    """Return a table of series, instant and availability. Each value is its instant, in seconds."""
    frame = pl.DataFrame({
        "id": [series for series, _, _ in rows],
        "t": pl.Series([wall(instant, zone) for _, instant, _ in rows], dtype=pl.Datetime("us")),
        "y": [instant.timestamp() for _, instant, _ in rows],
    })  # fmt: skip
    available = [None if known is None else wall(known, zone) for _, _, known in rows]
    return frame if None in available else frame.with_columns(known=pl.Series(available, dtype=pl.Datetime("us")))


def read(rows: pl.DataFrame, zone: str = NEW_YORK, frequency: str = "1h", **changes: Any) -> CheckedRows:
    defaults: dict[str, Any] = {
        "name": "d", "role": "target", "series_id": "id", "valid_time": "t", "values": ("y",), "time_zone": zone,
        "available_after": timedelta(0), "available_at": "known" if "known" in rows.columns else None,
    }  # fmt: skip
    grid = TimeGrid(frequency, zone if zone in CHANGES else NEW_YORK, None)
    result = check_rows(rows, FeedShape(**defaults | changes), grid, (None, None), LATE, 1, {"clock_change": "warn"})
    assert result.read == len(rows)
    return result


def wrong(result: CheckedRows) -> int:
    """Return how many instants hold the value of another instant."""
    return len(result.accepted.filter(pl.col("valid_time").dt.epoch("s") != pl.col("y")))


def night(*instants: datetime) -> Rows:
    return [("a", instant, None) for instant in instants]


@settings(max_examples=examples(30), deadline=None)
@given(
    zone=st.sampled_from(list(CHANGES)), minutes=st.sampled_from([15, 30, 60]), first=st.integers(-30, 4),
    length=st.integers(2, 60), newest_first=st.booleans(), by_time=st.booleans(),
    cuts=st.lists(st.integers(0, 60), max_size=2), overlap=st.integers(0, 4),
    available=st.sampled_from(["none", "each", "once", "preliminary and final"]), data=st.data(),
)  # fmt: skip
def test_no_instant_holds_the_value_of_another(
    zone: str, minutes: int, first: int, length: int, newest_first: bool, by_time: bool, cuts: list[int], overlap: int,
    available: str, data: st.DataObject,
) -> None:  # fmt: skip
    """Any order, any split into files, any omitted rows. The exception is a feed that lists the hour once."""
    if zone in ("Australia/Lord_Howe", "America/St_Johns"):
        minutes = min(minutes, 30)
    step = timedelta(minutes=minutes)
    choices: dict[str, list[timedelta | None]] = {
        "none": [None], "each": [step], "once": [None], "preliminary and final": [step, step + timedelta(days=1)],
    }  # fmt: skip
    delays = choices[available]
    keep = data.draw(st.lists(st.sampled_from([True, True, True, False]), min_size=2 * length, max_size=2 * length))
    rows = [
        (series, CHANGES[zone] + step * (first + i), CHANGES[zone] + step * (first + i) + delay if delay else None)
        for number, series in enumerate("ab") for i in range(length) if keep[number * length + i] for delay in delays
    ]  # fmt: skip
    if available == "once":
        rows = [(series, instant, CHANGES[zone] + timedelta(days=9)) for series, instant, _ in rows]
    rows.sort(key=lambda row: (row[1], row[0], row[2] or LATE) if by_time else row[:2], reverse=newest_first)
    begin = CHANGES[zone] + step * first
    ends = [begin, *(begin + step * cut for cut in sorted(cuts)), LATE]
    files = [[row for row in rows if a - overlap * step <= row[1] < b] for a, b in pairwise(ends)]
    tables = [table(file, zone).with_columns(pl.lit(number).alias(FILE)) for number, file in enumerate(files) if file]
    if not tables:
        return
    result = read(pl.concat(tables), zone, {15: "15m", 30: "30m", 60: "1h"}[minutes])
    assert not wrong(result) or any(found.check == "clock_change" for found in result.findings)


@pytest.mark.parametrize("zone", [zone for zone in CHANGES])
@pytest.mark.parametrize("minutes", [15, 30, 60])
@pytest.mark.parametrize("changes", [{}, {"series_id": None}, {"series_id": None, "role": "known_future"}])
def test_both_hours_are_kept_in_either_direction(zone: str, minutes: int, changes: dict[str, Any]) -> None:
    if minutes == 60 and zone in ("Australia/Lord_Howe", "America/St_Johns"):
        return
    step = timedelta(minutes=minutes)
    rows = table(night(*(CHANGES[zone] + step * i for i in range(-20, 20))), zone)
    for frame in (rows, rows.reverse()):
        result = read(frame, zone, {15: "15m", 30: "30m", 60: "1h"}[minutes], **changes)
        assert (len(result.accepted), wrong(result), result.findings) == (40, 0, ())


def test_times_sorted_by_the_wall_clock_are_pairs() -> None:
    rows = table(night(*(CHANGES[NEW_YORK] + timedelta(minutes=15 * i) for i in range(-8, 8))))
    result = read(rows.sort("t", maintain_order=True), frequency="15m")
    assert (len(result.accepted), wrong(result)) == (16, 0)


def test_an_hour_listed_once_is_the_first_with_a_finding() -> None:
    """Two files overlap at the change, and the source leaves out the second pass. Nothing is made up."""
    rows = night(*NIGHT[:2], *NIGHT[3:])
    files = pl.concat([table(rows).with_columns(pl.lit(number).alias(FILE)) for number in range(2)])
    result = read(files)
    assert sorted(result.accepted["valid_time"]) == [*NIGHT[:2], *NIGHT[3:]]
    found = result.findings[0]
    assert (found.check, found.rows, found.first) == ("clock_change", 2, NIGHT[1])
    assert "2018-11-04 01:00 occurs twice" in found.detail
    assert 'fixed_offset = "-05:00"' in found.detail


def test_files_that_are_split_within_the_hour() -> None:
    """The first file lists the hour once. The finding does not say that the feed does."""
    names = pl.Enum(["a.csv", "b.csv"])
    parts = zip((NIGHT[:2], NIGHT[2:]), names.categories, strict=True)
    files = pl.concat([table(night(*part)).with_columns(pl.lit(name, names).alias(FILE)) for part, name in parts])
    result = read(files)
    assert (len(result.accepted), wrong(result)) == (4, 0)
    assert [(group.rows, group.example) for group in result.reasons] == [
        (1, "at 2018-11-04 01:00:00 in row 1 of b.csv")
    ]
    detail = result.findings[0].detail
    assert "1 other rows with such a time are refused" in detail and "fixed_offset" not in detail


def test_rows_that_begin_inside_the_hour_are_refused() -> None:
    result = read(table(night(*NIGHT[2:])))
    assert len(result.accepted) == 2
    reason = result.refused["reason"].item()
    assert "t occurs twice in America/New_York" in reason and "fold" in reason
    assert [(group.rows, group.example) for group in result.reasons] == [(1, "at 2018-11-04 01:00:00 in row 1")]


@pytest.mark.parametrize(("fold", "place"), [("first", 1), ("second", 2), ("refuse", None)])
def test_fold_decides_what_the_rows_leave_open(fold: Literal["first", "second", "refuse"], place: int | None) -> None:
    expected = ([] if place is None else [NIGHT[place]]) + NIGHT[3:]
    for rows in (night(*NIGHT[2:]), night(NIGHT[0], *NIGHT[2:])):
        result = read(table(rows), fold=fold)
        assert [time for time in result.accepted["valid_time"] if time > NIGHT[0]] == expected
        assert result.findings == ()
    # Rows that list the hour twice need no rule, and of two open rows none is chosen.
    assert not wrong(read(table(night(*NIGHT)), fold=fold))
    assert len(read(table(night(NIGHT[1], NIGHT[2])), fold=fold).refused) == 2


@pytest.mark.parametrize("order", ["by time", "by publication"])
def test_preliminary_and_final_rows(order: str) -> None:
    hours = [CHANGES[NEW_YORK] + i * HOUR for i in range(-20, 20)]
    rows = [("a", t, t + delay) for t in hours for delay in (2 * HOUR, 26 * HOUR)]
    if order == "by publication":
        rows.sort(key=lambda row: row[2] - row[1])
    for frame in (table(rows), table(rows).reverse()):
        result = read(frame)
        assert (len(result.accepted), wrong(result)) == (80, 0)


def test_a_publication_is_a_sequence() -> None:
    """Forecasts that begin every six hours, listed by wall-clock time. One begins with the second 01:00."""
    runs = [CHANGES[NEW_YORK] + 6 * i * HOUR for i in range(-3, 2)]
    rows: list[tuple[str, datetime, datetime | None]] = [
        ("a", run + i * HOUR, run - HOUR) for run in runs for i in range(30)
    ]
    rows.sort(key=lambda row: (wall(row[1]), row[2]))
    result = read(table(rows), role="known_future")
    assert not wrong(result)
    assert len(result.refused) == 1


def test_days_of_25_and_23_hours_hold_every_hour() -> None:
    for first, hours in ((datetime(2018, 11, 3, 4, tzinfo=UTC), 73), (datetime(2018, 3, 10, 5, tzinfo=UTC), 71)):
        rows = table(night(*(first + i * HOUR for i in range(hours))))
        for frame in (rows, rows.reverse()):
            result = read(frame.with_columns(y=pl.lit(1.0)), frequency="1d", resample="sum")
            assert result.accepted["y"].to_list() == [24.0, hours - 48.0, 24.0]


def test_a_time_of_publication_that_is_repeated_is_the_later_one() -> None:
    result = read(table([("a", NIGHT[0], NIGHT[1])]))
    assert result.accepted["available_at"].to_list() == [NIGHT[2]]
    (found,) = result.findings
    assert (found.check, found.rows, found.first) == ("clock_change", 1, NIGHT[0])
    assert "1 times of known are in an hour that the clock of America/New_York repeats" in found.detail
    assert "first: 2018-11-04 01:00:00)" in found.detail


def test_a_time_of_publication_that_is_skipped_is_the_later_one() -> None:
    """A clock that was not set forward shows 2:30 at the instant of 3:30."""
    rows = pl.DataFrame({"id": "a", "t": [datetime(2018, 3, 11, 1)], "known": [datetime(2018, 3, 11, 2, 30)], "y": 1.0})
    result = read(rows)
    assert result.accepted["available_at"].to_list() == [datetime(2018, 3, 11, 7, 30, tzinfo=UTC)]
    assert [found.rows for found in result.findings] == [1]


@pytest.mark.parametrize("minutes", [15, 60])
@pytest.mark.parametrize("delay", [0, 5, 35, 65])
@pytest.mark.parametrize("newest_first", [False, True])
def test_publications_of_single_rows_in_local_time(minutes: int, delay: int, newest_first: bool) -> None:
    """Two of them have one time by the clock, and are no publication of several rows."""
    step = timedelta(minutes=minutes)
    starts = [CHANGES[NEW_YORK] + step * i for i in range(-30, 30)]
    rows = table([("a", start, start + step + timedelta(minutes=delay)) for start in starts])
    result = read(rows.reverse() if newest_first else rows, frequency=f"{minutes}m" if minutes < 60 else "1h")
    assert (len(result.accepted), wrong(result)) == (60, 0)
    known = result.accepted["available_at"] - result.accepted["valid_time"]
    assert known.is_in([step + timedelta(minutes=delay), step + timedelta(minutes=delay) + HOUR]).all()
    assert [found.rows for found in result.findings] == [2 * HOUR // step]


@pytest.mark.parametrize(("zone", "offset", "year"), [("Australia/Sydney", "+10:00", 2018), (NEW_YORK, "-05:00", 2019)])
def test_standard_time_all_year(zone: str, offset: str, year: int) -> None:
    """A time that the zone skips gives a finding with the setting that fits, and that setting gives the instants."""
    first = datetime(year, 1, 1)
    rows = pl.DataFrame({"id": "a", "t": [first + i * HOUR for i in range(24 * 365)], "y": 1.0})
    findings = {found.detail for found in read(rows, zone).findings}
    assert any("02:00 does not exist" in detail and f'fixed_offset = "{offset}"' in detail for detail in findings)
    result = read(rows, offset)
    shift = timedelta(hours=int(offset[:3]))
    assert result.accepted["valid_time"].to_list() == [(t - shift).replace(tzinfo=UTC) for t in rows["t"]]
    assert result.findings == ()


def test_a_skipped_hour_that_is_filled_in_is_no_sign_of_standard_time() -> None:
    """A feed that lists the repeated hour twice follows the clock. An empty cell is no value."""
    spring = pl.DataFrame({"id": "a", "t": [datetime(2018, 3, 11, h) for h in range(5)], "y": [1.0] * 5})
    assert read(pl.concat([spring, table(night(*NIGHT))])).findings == ()
    empty = spring.with_columns(y=pl.when(pl.col("t").dt.hour() != 2).then("y"))
    assert read(empty).findings == ()
    assert read(spring).findings != ()


@pytest.mark.parametrize("series", ["id", None])
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("by_start", [True, False])
def test_ends_of_hours(series: str | None, newest_first: bool, by_start: bool) -> None:
    """Ends are numbered by the clock at their beginning, or are what the clock shows then."""
    hours = [NIGHT[0] + i * HOUR for i in range(-24, 24)]
    rows = table(night(*hours))
    if by_start:
        rows = rows.with_columns(pl.col("t") + HOUR)
    else:
        rows = rows.with_columns(t=table(night(*(hour + HOUR for hour in hours)))["t"])
    rows = rows.reverse() if newest_first else rows
    result = read(rows, label="end", series_id=series)
    assert len(result.accepted) == len(hours) and not wrong(result) and not result.findings
    # A file that begins within the repeated hour does not show which hour it is.
    part = rows.filter(pl.col("y") >= NIGHT[2].timestamp())
    result = read(part, label="end", series_id=series)
    assert len(result.refused) == 1 and not wrong(result)
    assert "the period of t occurs twice" in result.refused["reason"][0]


def test_overlapping_files_of_ends() -> None:
    hours = [NIGHT[0] + i * HOUR for i in range(-24, 24)]
    rows = table(night(*hours)).with_columns(pl.col("t") + HOUR, pl.lit(0).alias(FILE))
    both = pl.concat([rows.head(40), rows.tail(40).with_columns(pl.lit(1).alias(FILE))])
    result = read(both, label="end", series_id=None)
    assert len(result.accepted) == len(hours) and not wrong(result)
