"""Properties of aggregation: the sum of all values is conserved, and revised parts give revised periods."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checks.feed_rows import check_rows
from model.timegrid import TimeGrid
from tests.support.examples import examples
from tests.support.finer_feeds import HOUR, MINUTE, aggregate, feed_rows, feed_shape, instants
from tests.support.made import ZONES

# Minutes of the parts, by frequency of the pipeline.
PARTS = {"30m": (5, 10, 15), "1h": (5, 10, 15, 30), "1d": (15, 30, 60)}


@settings(max_examples=examples(200), deadline=None)
@given(
    zone=st.sampled_from(ZONES), grid=st.sampled_from([("30m", 0), ("1h", 0), ("1d", 0), ("1d", 6)]),
    season=st.sampled_from(["spring", "autumn", "none"]), year=st.integers(2006, 2024),
    seed=st.integers(0, 2**32 - 1), is_local=st.booleans(), changes_resolution=st.booleans(),
)  # fmt: skip
def test_energy_is_conserved(
    zone: str, grid: tuple[str, int], season: str, year: int, seed: int, is_local: bool, changes_resolution: bool
) -> None:
    """Every row is accepted, refused or waits, with its energy, over clock changes, holes and changes of resolution."""
    rng = np.random.default_rng(seed)
    frequency, day_start = grid
    periods = TimeGrid(frequency, zone, None, day_start * 3_600_000_000)
    # A clock change of half an hour makes wall-clock hours ambiguous, and the wall-clock time of a day names its date.
    changes_resolution = changes_resolution and not (is_local and (frequency == "1d" or zone == "Australia/Lord_Howe"))
    part = int(rng.choice([p for p in PARTS[frequency] if p <= 30 or zone != "Australia/Lord_Howe"])) * MINUTE
    middle = datetime(year, *_clock_change(zone, year, season), tzinfo=UTC)
    span = timedelta(days=6) if frequency == "1d" else timedelta(days=1)
    begin, change, end = (_period_start(periods, instant) for instant in (middle - span, middle, middle + span))
    times = instants(begin, part, int((end - begin) / part))
    if changes_resolution:
        coarse_parts = int((change - begin) / part)
        steps = np.unique(periods.index(_micros(times[:coarse_parts])))
        times = [datetime.fromtimestamp(int(t) / 1e6, UTC) for t in periods.start(steps)] + times[coarse_parts:]
    # If rows of a repeated local hour are missing, the others cannot be assigned to an instant.
    is_missing = rng.random(len(times)) < (0 if is_local else rng.choice([0, 0.02, 0.2]))
    times = [t for t, missing in zip(times, is_missing, strict=True) if not missing]
    values = rng.integers(1, 100, len(times)).astype(float)
    feed_times = [t.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for t in times] if is_local else times
    number = np.arange(len(times))
    other = feed_rows(feed_times, values + 0.5, n=number).with_columns(id=pl.lit("b"))
    frame = pl.concat([feed_rows(feed_times, values, n=number), other])
    as_of = end - timedelta(hours=int(rng.integers(0, 30)))

    result = check_rows(frame, feed_shape(time_zone=zone if is_local else "UTC"), periods, (None, None), as_of)

    assert result.read == len(frame)
    newest = result.accepted["available_at"].max()
    assert newest is None or (isinstance(newest, datetime) and newest <= as_of)
    assert not result.accepted.select("series_id", "valid_time").is_duplicated().any()
    # An accepted value is the sum of all rows read of its period. All other rows are refused or wait.
    row_steps = periods.index(_micros(times))
    sums: dict[tuple[str, int], float] = defaultdict(float)
    for name, offset in (("a", 0.0), ("b", 0.5)):
        for step, value in zip(row_steps.tolist(), values, strict=True):
            sums[name, step] += value + offset
    steps = periods.index(result.accepted["valid_time"].to_physical().to_numpy()).tolist()
    accepted = dict(zip(zip(result.accepted["series_id"], steps, strict=True), result.accepted["y"], strict=True))
    assert accepted == {key: sums[key] for key in accepted}
    refused = set(zip(result.refused["id"], row_steps[result.refused["n"].to_numpy()].tolist(), strict=True))
    assert not refused & accepted.keys()
    waiting = sums.keys() - refused - accepted.keys()
    assert result.later == sum(int((row_steps == step).sum()) for _, step in waiting)
    total = sum(accepted.values()) + result.refused["y"].sum() + sum(sums[key] for key in waiting)
    assert total == frame["y"].sum()
    if not is_missing.any():
        assert result.refused.is_empty()


def _micros(times: list[datetime]) -> np.ndarray:
    return np.array([int(t.timestamp() * 1e6) for t in times])


def _period_start(periods: TimeGrid, instant: datetime) -> datetime:
    return datetime.fromtimestamp(int(periods.start(periods.index(_micros([instant])))[0]) / 1e6, UTC)


def _clock_change(zone: str, year: int, season: str) -> tuple[int, int]:
    """Return month and day of a clock change, or of any day."""
    days = [datetime(year, 1, 1, 12, tzinfo=UTC) + timedelta(days=d) for d in range(365)]
    offsets = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    changes = [days[i] for i in range(1, 365) if offsets[i] != offsets[i - 1]]
    if season == "none" or not changes:
        return 6, 15
    change = changes[0] if season == "spring" else changes[-1]
    return change.month, change.day


@settings(max_examples=examples(100), deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 11), st.integers(0, 12), st.one_of(st.none(), st.integers(1, 99))), max_size=40
    ),
    missing=st.integers(0, 12), as_of=st.integers(0, 12),
)  # fmt: skip
def test_revised_parts_give_revised_periods(rows: list[tuple[int, int, int | None]], missing: int, as_of: int) -> None:
    """At each instant, a period is the sum of the newest value of each quarter, once four are known."""
    start = datetime(2025, 10, 1, tzinfo=UTC)
    versions = {(quarter, known): value for quarter, known, value in rows}
    versions |= {(quarter, 2): 1 for quarter in range(28) if quarter != missing}
    table = [(quarter, known, value) for (quarter, known), value in versions.items()]
    frame = feed_rows(
        [start + quarter * 15 * MINUTE for quarter, _, _ in table],
        pl.Series([value for _, _, value in table], dtype=pl.Float64),
        known=[start + known * HOUR for _, known, _ in table],
    )
    result = aggregate(frame, available_at="known", as_of=start + as_of * HOUR)
    expected: dict[tuple[int, int], int | None] = {}
    for hour in range(7):
        expected |= _versions_of_hour(table, hour, as_of)
    actual = {
        ((time - start) / HOUR, (known - start) / HOUR): y
        for time, known, y in result.accepted.select("valid_time", "available_at", "y").rows()
    }
    assert actual == expected


def _versions_of_hour(
    table: list[tuple[int, int, int | None]], hour: int, as_of: int
) -> dict[tuple[int, int], int | None]:
    """Return the value of an hour at each instant at which a quarter became known, by hour and instant.

    The value is missing unless all quarters have one. An hour that never has all of them, or none, is refused.
    """
    by_time = sorted(table, key=lambda row: row[1])
    totals: dict[tuple[int, int], int | None] = {}
    is_usable = False
    for moment in sorted({known for quarter, known, _ in table if quarter // 4 == hour and known <= as_of}):
        newest = {quarter: value for quarter, known, value in by_time if quarter // 4 == hour and known <= moment}
        if len(newest) == 4:
            known_values = [value for value in newest.values() if value is not None]
            totals[hour, moment] = sum(known_values) if len(known_values) == 4 else None
            is_usable |= len(known_values) in (0, 4)
    return totals if is_usable else {}
