"""Checks of whole series: each finds its fault, and none finds one in a clean series."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from flows.settings.feed import Checks
from model.checks.feed_rows import check_rows
from model.checks.feed_shape import FeedShape
from model.checks.findings import Finding
from model.checks.series import check_series
from model.checks.units import check_conflict, check_expected_level, check_unit_ratio
from model.timegrid import TimeGrid
from storage.schemas.records import Action
from tests.support.made import hourly
from tests.support.pipelines import SHARED

GRID = TimeGrid("1h", "Europe/Madrid", None)
START = datetime(2018, 9, 1, tzinfo=UTC)
WARN: dict[str, Action] = Checks().model_dump()


def load(hours: int = 24 * 90, seed: int = 0) -> np.ndarray:
    """Return values with a daily and a weekly shape and noise, like electricity load."""
    hour = np.arange(hours)
    noise = np.random.default_rng(seed).normal(size=hours)
    values: np.ndarray = 100 + 30 * np.sin(2 * np.pi * hour / 24) + 10 * np.sin(2 * np.pi * hour / 168) + noise
    return values


def check(
    rows: np.ndarray | pl.DataFrame, grid: TimeGrid = GRID, **actions: Action
) -> tuple[dict[str, Finding], pl.Series | None]:
    """Check hourly values, or a table, and return the findings by check with the reasons of quarantined rows."""
    frame = rows if isinstance(rows, pl.DataFrame) else hourly(START, rows)
    findings, reasons = check_series(frame, "y", grid, 168, WARN | actions)
    return {finding.check: finding for finding in findings}, reasons


def test_clean_series_has_no_finding() -> None:
    assert check(load()) == ({}, None)


def test_gap() -> None:
    rows = hourly(START, load())
    finding = check(rows.filter(~pl.int_range(pl.len()).is_in([500, 501, 900])))[0]["gap"]
    assert finding.detail == "3 periods missing in 2 gaps"
    assert finding.first == START + timedelta(hours=502)


def test_flat_line() -> None:
    values = load()
    values[300:315] = values[300]
    assert check(values)[0]["flat_line"].rows == 15
    values[300:315] = load()[300:315]
    values[300:308] = values[300]  # shorter than half a day
    assert not check(values)[0]


@pytest.mark.parametrize("factor", [20, 1000])
def test_spike_is_found_and_quarantined_on_request(factor: float) -> None:
    values = load()
    values[700] *= factor
    findings, reasons = check(values, spike="quarantine")
    assert findings["spike"].rows == 1
    assert findings["spike"].first == START + timedelta(hours=700)
    assert reasons is not None
    assert reasons.is_not_null().arg_true().to_list() == [700]
    assert check(values)[1] is None


@pytest.mark.parametrize("factor, is_found", [(10, True), (0.1, True), (3, False), (0.3, False)])
def test_a_day_far_from_the_weeks_before_is_found(factor: float, is_found: bool) -> None:
    values = load()
    values[-24:] *= factor
    findings = check(values)[0]
    assert ("day_jump" in findings) == is_found
    if is_found:
        assert findings["day_jump"].first == START + timedelta(days=89)


def test_zero_among_large_values() -> None:
    values = load()
    values[700] = 0
    assert check(values)[0]["dropout"].first == START + timedelta(hours=700)


def test_prices_may_spike_and_be_negative() -> None:
    values = load() - 100
    values[700] = 3000.0
    assert not check(values)[0]


@pytest.mark.parametrize("factor", [2.5, 4, 1000, 0.25])
def test_jump_of_level(factor: float) -> None:
    values = load()
    values[24 * 50 :] *= factor
    finding = check(values, spike="accept", dropout="accept")[0]["level_jump"]
    assert finding.first.date() == (START + timedelta(days=50)).date()
    assert finding.detail.startswith("level ")
    assert float(finding.detail.split()[1]) == pytest.approx(factor, rel=0.1)


@pytest.mark.parametrize("factor", [1000, 0.001])
@pytest.mark.parametrize("begin", [24 * 10 + 5, 24 * 50, 24 * 87])
def test_a_few_days_in_another_unit(factor: float, begin: int) -> None:
    values = load()
    values[begin : begin + 72] *= factor
    others = hourly(START, load(24 * 20, 1)).with_columns(series_id=pl.lit("b"))
    rows = pl.concat([hourly(START, values), others])
    findings, reasons = check(rows, spike="accept", dropout="accept", level_jump="accept", unit_jump="quarantine")
    finding = findings["unit_jump"]
    assert (finding.rows, finding.first) == (72, START + timedelta(hours=begin))
    assert finding.last == START + timedelta(hours=begin + 71)
    assert finding.detail.startswith("72 values over 100 times" if factor > 1 else "72 values below 1/100 of")
    assert reasons is not None
    assert reasons.is_not_null().arg_true().to_list() == list(range(begin, begin + 72))


def test_a_lasting_change_of_unit_is_no_unit_jump() -> None:
    values = load()
    values[24 * 50 :] *= 1000
    assert "unit_jump" not in check(values)[0]
    # A short read may begin with the last days of the former level.
    assert "unit_jump" not in check(values[24 * 48 : 24 * 55])[0]


def test_end_of_values_is_no_jump_of_level() -> None:
    values = load()
    values[24 * 50 :] = np.nan
    values[24 * 88 :] = 100
    assert "level_jump" not in check(values)[0]


def test_block_repeated_at_the_clock_change() -> None:
    """In autumn, a source repeated the quarters of the first 02:00 for the second one (entsoe-py #468)."""
    grid = TimeGrid("15m", "Europe/Madrid", None)
    first = datetime(2018, 10, 20, tzinfo=UTC)
    values = load(96 * 20)
    change = int((datetime(2018, 10, 28, 1, tzinfo=UTC) - first) / timedelta(minutes=15))
    times = [first + timedelta(minutes=15 * i) for i in range(len(values))]
    rows = pl.DataFrame({"series_id": "a", "valid_time": pl.Series(times, dtype=pl.Datetime("us", "UTC")), "y": values})
    rows = rows.with_columns(available_at=pl.col("valid_time"))
    assert not check(rows, grid)[0]
    values[change : change + 4] = values[change - 4 : change]
    findings, reasons = check(rows.with_columns(y=values), grid)
    assert findings["repeated_block"].rows == 4
    assert reasons is not None
    assert reasons.is_not_null().arg_true().to_list() == list(range(change, change + 4))
    # On any other day a repetition is normal.
    values = load(96 * 20)
    values[200:204] = values[196:200]
    assert not check(rows.with_columns(y=values), grid)[0]


def test_checks_that_compare_series() -> None:
    ends, twin = load(), load(seed=1)
    ends[24 * 80 :] = np.nan
    parts = {"a": ends, "b": twin, "c": twin}
    rows = pl.concat([hourly(START, values, name) for name, values in parts.items()])
    findings, _ = check(rows)
    assert findings["stopped"].series_id == "a"
    assert findings["same_series"].series_id == "c"
    assert findings["same_series"].detail == "all values equal those of another series, 'b'"


def test_a_renamed_series_is_reported_with_its_successor() -> None:
    old, new, other = load(), load(), 10 * load(seed=1)
    old[24 * 80 :] = np.nan
    start = START + timedelta(days=80)
    rows = pl.concat([
        hourly(START, old[: 24 * 80], "B"), hourly(start, new[24 * 80 :], "B-new"), hourly(START, other, "A"),
    ])  # fmt: skip
    finding = check(rows)[0]["renamed"]
    assert finding.series_id == "B"
    assert "'B-new' begin" in finding.detail
    ten_times = rows.with_columns(y=pl.when(pl.col("series_id") == "B-new").then(pl.col("y") * 10).otherwise("y"))
    assert "renamed" not in check(ten_times)[0]


def test_order_and_revisions_do_not_matter() -> None:
    values = load()
    values[700] *= 20
    rows = hourly(START, values)
    corrected = rows[700].with_columns(y=pl.lit(100.0), available_at=pl.col("available_at") + timedelta(days=1))
    shuffled = pl.concat([rows, corrected]).sample(fraction=1.0, shuffle=True, seed=1)
    assert not check(shuffled)[0]
    spiked, reasons = check(rows.reverse(), spike="quarantine")
    assert reasons is not None
    assert rows.reverse().filter(reasons.is_not_null())["valid_time"].item() == spiked["spike"].first


@pytest.mark.parametrize("rows", [1, 5_000])
def test_block_size_does_not_matter(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    rng = np.random.default_rng(3)
    parts = [load(24 * 90, seed) for seed in range(8)]
    for values in parts:
        values[rng.integers(0, len(values), 9)] *= 20
        values[rng.integers(0, len(values), 9)] = 0
        values[900:920] = values[900]
        values[1369:1393] = values[1345:1369]  # The day before again, at the clock change.
    parts[0][24 * 60 : 24 * 61] *= 40
    parts[1][24 * 50 :] *= 3
    parts[4][300:360] *= 10_000
    parts[2], parts[3][24 * 80 :] = parts[5], np.nan
    frame = pl.concat([hourly(START, values, f"s{number}") for number, values in enumerate(parts)])
    frame = frame.filter(~pl.int_range(pl.len()).is_in([500, 501, 900]))
    actions: dict[str, Action] = dict.fromkeys(WARN, "quarantine")
    expected, reasons = check_series(frame, "y", GRID, 168, actions)
    elsewhere = {"emptied", "other_unit", "clock_change", "renamed", "sentinel"}
    assert {finding.check for finding in expected} == set(WARN) - elsewhere
    monkeypatch.setattr("model.checks.series_table._ROWS_PER_BLOCK", rows)
    findings, same_reasons = check_series(frame, "y", GRID, 168, actions)
    assert findings == expected
    assert reasons is not None and same_reasons is not None and same_reasons.equals(reasons)


@pytest.mark.parametrize("days_ahead, is_found", [(7, True), (2, False)])
def test_a_whole_delivery_of_days_ahead_may_be_in_another_unit(days_ahead: int, is_found: bool) -> None:
    values = load(24 * 28)
    values[-24 * 7 :] *= 1000
    as_of = START + timedelta(days=28 - days_ahead)
    findings, _ = check_series(hourly(START, values), "y", GRID, 168, WARN, as_of)
    assert ("unit_jump" in {finding.check for finding in findings}) == is_found


def test_two_feeds_of_one_series_must_not_differ_by_far() -> None:
    rows = hourly(START, load(24 * 10), "a")
    revised = rows.with_columns(mw=pl.col("y") * 1.05).drop("y")
    assert not check_conflict(rows, "y", revised, "mw", "live")
    assert not check_conflict(rows, "y", revised.with_columns(series_id=pl.lit("b")), "mw", "live")
    (finding,) = check_conflict(rows, "y", revised.with_columns(pl.col("mw") * 10), "mw", "live")
    assert (finding.check, finding.rows) == ("conflict", 240)
    assert "that feed 'live' has too, with other values, such as" in finding.detail


def test_other_unit() -> None:
    rows = pl.concat([hourly(START, load() * factor, name) for name, factor in (("a", 1), ("b", 4), ("c", 1000))])
    forecast = rows.select("series_id", "valid_time", forecast="y")
    forecast = forecast.with_columns(pl.when(pl.col("series_id") == "a").then("forecast").otherwise(pl.lit(100.0)))
    findings = check_unit_ratio(rows, "y", forecast, "forecast", "warn")
    assert [(f.series_id, f.check) for f in findings] == [("b", "other_unit"), ("c", "other_unit")]
    expected = {"a": 100.0, "b": 100.0, "z": 5.0}
    assert [f.series_id for f in check_expected_level(rows, "y", expected, "warn")] == ["b"]


def test_quarantined_rows_keep_all_columns() -> None:
    """A row that a check of series quarantines is refused like any other row."""
    values = load(24 * 20)
    values[100] *= 50
    values[200] = -1
    rows = hourly(START, values).rename({"valid_time": "t"}).with_columns(extra=pl.lit("x"))
    shape = FeedShape("d", "target", "series_id", "t", ("y",), "UTC", timedelta(0), None)
    late = datetime(2100, 1, 1, tzinfo=UTC)
    result = check_rows(rows, shape, GRID, (0.0, None), late, 168, WARN | {"spike": "quarantine"})
    assert len(result.accepted) + len(result.refused) == len(rows)
    assert result.refused["y"].to_list() == [values[100], -1]
    assert result.refused["reason"].str.starts_with("spike").to_list() == [True, False]


SHARED_FEEDS = {
    # file: zone, frequency, season, least value, (check, series) that must be found
    "pjm_hourly": ("America/New_York", "1h", 168, 0.0, {("gap", "AEP"), ("gap", "PJME")}),
    "gefcom2012": ("America/New_York", "1h", 168, 0.0, {("level_jump", "zone_10"), ("same_series", "zone_07")}),
    "vic_elec": ("Australia/Melbourne", "30m", 336, 0.0, set()),
    "entsoe_tscv": ("UTC", "1h", 168, None, {("other_unit", f"load_{c}") for c in ("DE", "NL")}),
    "spain_daily": ("Europe/Madrid", "1d", 7, 0.0, {("gap", "gas_ES_total_Enagas")}),
}  # fmt: skip


@pytest.mark.shared
@pytest.mark.parametrize("name", SHARED_FEEDS)
def test_known_faults_of_real_data_are_found(name: str) -> None:
    source = SHARED / f"{name}.parquet"
    if not source.exists():
        pytest.skip("the shared development data are not beside this checkout")
    zone, frequency, season, least, expected = SHARED_FEEDS[name]
    rows = pl.read_parquet(source, columns=["series_id", "ds", "y"])
    shape = FeedShape("d", "target", "series_id", "ds", ("y",), zone, timedelta(0), None)
    late = datetime(2100, 1, 1, tzinfo=UTC)
    result = check_rows(rows, shape, TimeGrid(frequency, zone, None), (least, None), late, season, WARN)
    assert len(result.accepted) + len(result.refused) == len(rows)
    levels = {"load_DE": 55_000.0, "load_NL": 12_500.0, "load_FR": 53_000.0}
    findings = [*result.findings, *check_expected_level(result.accepted, "y", levels, "warn")]
    pairs = {(finding.check, finding.series_id) for finding in findings}
    assert pairs >= expected
    if name == "pjm_hourly":
        # No zone has the repeated hours of the clock changes in autumn.
        assert {series for check, series in pairs if check == "gap"} == set(rows["series_id"])
        reasons = dict(result.refused["reason"].value_counts().iter_rows())
        assert sum(n for reason, n in reasons.items() if reason.startswith("duplicate")) == 32
        assert sum(n for reason, n in reasons.items() if "does not exist" in reason) == 92
    if name == "gefcom2012":
        (jump,), (twin,) = ([f for f in findings if f.check == check] for check in ("level_jump", "same_series"))
        assert (jump.series_id, jump.first.date()) == ("zone_10", date(2008, 1, 2))
        assert twin.detail == "all values equal those of another series, 'zone_03'"
    if name == "entsoe_tscv":
        units = {f.series_id: float(f.detail.split()[1]) for f in findings if f.check == "other_unit"}
        assert units == pytest.approx({"load_DE": 4, "load_NL": 4}, rel=0.1)
    if name == "vic_elec":
        assert not findings


def test_a_series_without_values_has_stopped_without_a_number_of_periods() -> None:
    rows = hourly(START, load())
    empty = rows.with_columns(series_id=pl.lit("z"), y=pl.lit(None, pl.Float64))
    assert check(pl.concat([rows, empty]))[0]["stopped"].detail == "no value"
    assert "stopped" not in check(empty)[0]
