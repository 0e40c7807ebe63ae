"""Keys that repeat with different values: an undeclared dimension, or revisions that are allowed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from model.checks.feed_rows import check_rows
from model.checks.feed_shape import FeedShape
from model.checks.repeated_keys import RepeatedKeysError, find_dimensions, remedy
from model.timegrid import TimeGrid

LATE = datetime(2100, 1, 1, tzinfo=UTC)
GRID = TimeGrid("1h", "UTC", None)
START = datetime(2018, 9, 1)


def shape(**changes: Any) -> FeedShape:
    defaults: dict[str, Any] = {
        "name": "demand", "role": "target", "series_id": None, "valid_time": "t", "values": ("y",),
        "time_zone": "UTC", "available_after": timedelta(0), "available_at": None,
    }  # fmt: skip
    return FeedShape(**defaults | changes)


def table(zones: str, hours: int, by_zone: bool = False) -> pl.DataFrame:
    rows = pl.DataFrame([
        {"zone": zone, "t": START + timedelta(hours=hour), "y": float(100 * number + hour), "n": 10 * hour + number}
        for hour in range(hours) for number, zone in enumerate(zones)
    ])  # fmt: skip
    return rows.sort("zone", maintain_order=True) if by_zone else rows


def accepted(rows: pl.DataFrame, feed: FeedShape) -> pl.DataFrame:
    checked = check_rows(rows, feed, GRID, (None, None), LATE)
    assert checked.read == len(rows)
    return checked.accepted


@pytest.mark.parametrize("by_zone", [False, True])
def test_a_forgotten_series_id_is_an_error_that_names_it(by_zone: bool) -> None:
    rows = table("ABC", 48, by_zone)
    with pytest.raises(RepeatedKeysError, match=r"each time comes 3 times with .* \(first: 2018-09-01 00:00 has y 0, "):
        check_rows(rows, shape(), GRID, (None, None), LATE)
    assert find_dimensions(rows, shape()) == ["zone"]
    assert "missing as series_id? The rows differ in 'zone' (3 values: A, B, C)." in remedy(["zone"], rows)
    assert len(accepted(rows, shape(series_id="zone"))) == 3 * 48
    assert len(accepted(rows, shape(repeats="last"))) == 48


def test_an_undeclared_dimension_beside_series_is_an_error() -> None:
    kinds = [table("AB", 48).with_columns(pl.col("y") + 7 * number, kind=pl.lit(kind)) for number, kind in
             enumerate(("actual", "forecast"))]  # fmt: skip
    rows = pl.concat(kinds)
    with pytest.raises(RepeatedKeysError, match="each series and time comes 2 times"):
        check_rows(rows, shape(series_id="zone"), GRID, (None, None), LATE)
    assert find_dimensions(rows, shape(series_id="zone")) == ["kind"]


def test_a_date_in_an_hourly_table_is_an_error() -> None:
    rows = table("A", 72).select(pl.col("t").dt.date(), "y", hour=pl.col("t").dt.hour())
    with pytest.raises(RepeatedKeysError, match="each time comes 24 times"):
        check_rows(rows, shape(), GRID, (None, None), LATE)
    assert find_dimensions(rows, shape()) == ["hour"]


def test_equal_repeats_are_duplicates() -> None:
    rows = table("A", 48)
    assert len(accepted(pl.concat([rows, rows, rows]), shape())) == 48


def test_a_minority_of_revised_rows_is_no_error() -> None:
    rows = table("A", 48)
    final = rows.head(20).with_columns(pl.col("y") + 5)
    assert accepted(pl.concat([rows, final]), shape())["y"].sum() == rows["y"].sum() + 20 * 5


def test_the_last_of_overlapping_files_counts() -> None:
    """Read files of three days, one for each day, whose values all change from file to file."""
    files = [
        table("AB", 72).with_columns(pl.col("t") + timedelta(days=day), pl.col("y") * 0 + day) for day in range(6)
    ]  # fmt: skip
    newest_first = [file.reverse() for file in files]
    for parts in (files, newest_first):
        rows = accepted(pl.concat(parts), shape(series_id="zone"))
        assert len(rows) == 2 * 8 * 24
        assert rows.filter(pl.col("y") == 5).height == 2 * 72
    with pytest.raises(RepeatedKeysError):
        check_rows(pl.concat(files[::-1]), shape(series_id="zone"), GRID, (None, None), LATE)


@pytest.mark.parametrize("days", [1, 2, 5])
def test_a_date_column_in_an_hourly_table_is_an_error_however_short(days: int) -> None:
    rows = table("A", 24 * days).with_columns(pl.col("t").dt.truncate("1d"))
    with pytest.raises(RepeatedKeysError, match="each time comes 24 times"):
        check_rows(rows, shape(), GRID, (None, None), LATE)


@pytest.mark.parametrize("order", ["time", "kind"])
@pytest.mark.parametrize("zones", ["A", "AB"])
def test_a_dimension_that_begins_with_the_new_rows_is_an_error(order: str, zones: str) -> None:
    old, new = table(zones, 240), table(zones, 264).filter(pl.col("t") >= START + timedelta(hours=240))
    kinds = [new.with_columns(pl.col("y") + 5000 * number, kind=pl.lit(number)) for number in (0, 1)]
    mixed = pl.concat(kinds).sort(["t", "zone", "kind"] if order == "time" else ["kind", "t"])
    rows = pl.concat([old, mixed.drop("kind")])
    feed = shape(series_id="zone")
    newest = (START + timedelta(hours=239)).replace(tzinfo=UTC)
    with pytest.raises(RepeatedKeysError, match="each new series and time comes 2 times"):
        check_rows(rows, feed, GRID, (None, None), LATE, new_from=newest)
    if order == "time":
        with pytest.raises(RepeatedKeysError, match="each new series and time comes 2 times"):
            check_rows(rows, feed, GRID, (None, None), LATE)
    else:
        # A block that is appended may hold revisions, if nothing shows that its periods are new.
        assert len(accepted(rows, feed)) == len(zones) * 264
    assert len(accepted(rows, shape(series_id="zone", repeats="last"))) == len(zones) * 264


def test_revisions_of_the_newest_rows_are_no_error() -> None:
    rows = table("AB", 240)
    final = rows.tail(48).with_columns(pl.col("y") + 5)
    newest = (START + timedelta(hours=239)).replace(tzinfo=UTC)
    checked = check_rows(pl.concat([rows, final]), shape(series_id="zone"), GRID, (None, None), LATE, new_from=newest)
    assert (len(checked.accepted), len(checked.refused)) == (480, 48)


def test_forecasts_of_several_issue_times_without_available_at_are_reported() -> None:
    runs = [table("A", 48).with_columns(pl.col("t") + timedelta(days=day), pl.col("y") + day) for day in range(10)]
    rows = pl.concat(runs)
    future = shape(role="known_future")
    (finding,) = check_rows(rows, future, GRID, (None, None), LATE).findings
    assert (finding.check, finding.rows) == ("vintages", 9 * 24)
    assert "Set available_at" in finding.detail
    for feed in (shape(), shape(role="known_future", repeats="last")):
        assert not check_rows(rows, feed, GRID, (None, None), LATE).findings
    same = pl.concat([table("A", 48), table("A", 48)])
    assert not check_rows(same, future, GRID, (None, None), LATE).findings
