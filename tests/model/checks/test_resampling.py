"""Finer periods aggregated into the pipeline's: only complete sets, nothing lost, nothing counted twice."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.settings.feed import Checks
from model.checks.feed_rows import CheckedRows, check_rows
from model.checks.feed_shape import FeedShape
from model.timegrid import TimeGrid
from tests.support.made import ZONES

LATE = datetime(2100, 1, 1, tzinfo=UTC)
HOURS = TimeGrid("1h", "Europe/Madrid", None)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def shape(how: str = "sum", **changes) -> FeedShape:
    given = {
        "name": "d", "role": "target", "series_id": "id", "valid_time": "t", "values": ("y",), "time_zone": "UTC",
        "available_after": timedelta(0), "available_at": None, "resample": how,
    }  # fmt: skip
    return FeedShape(**given | changes)


def rows(times, values=None, **columns) -> pl.DataFrame:
    values = np.arange(1.0, len(times) + 1) if values is None else values
    return pl.DataFrame({"id": "a", "t": times, "y": values, **columns})


def aggregated(
    frame: pl.DataFrame, how: str = "sum", as_of: datetime = LATE, grid=HOURS, bounds=(None, None), **changes
):
    result = check_rows(frame, shape(how, **changes), grid, bounds, as_of)
    assert result.read == len(frame)
    assert result.refused["reason"].null_count() == 0
    return result


def every(first: datetime, step: timedelta, count: int) -> list[datetime]:
    return [first + i * step for i in range(count)]


def reasons(result: CheckedRows) -> set[str]:
    return set(result.refused["reason"])


@pytest.mark.parametrize(("how", "value"), [("mean", 25.0), ("sum", 100.0), ("last", 40.0)])
def test_european_prices_change_to_quarters(utc, how, value):
    """2025-10-01: hours until the day before, quarters from then on. Both are hours of the pipeline."""
    hours, quarters = every(utc(2025, 9, 30), HOUR, 24), every(utc(2025, 10, 1), 15 * MINUTE, 96)
    frame = rows([*hours, *quarters], [7.0] * 24 + [10.0, 20.0, 30.0, 40.0] * 24)
    result = aggregated(frame, how, available_after=timedelta(minutes=5))
    assert result.refused.is_empty()
    assert result.aggregated == 72
    assert result.accepted["valid_time"].to_list() == every(utc(2025, 9, 30), HOUR, 48)
    assert result.accepted["y"].to_list() == [7.0] * 24 + [value] * 24
    known = result.accepted["available_at"] - result.accepted["valid_time"]
    assert known.unique().to_list() == [timedelta(minutes=65)]


def test_without_resample_they_are_refused(utc):
    frame = rows(every(utc(2025, 10, 1), 15 * MINUTE, 8))
    result = check_rows(frame, shape(None), HOURS, (None, None), LATE)
    assert (len(result.accepted), len(result.refused), result.read) == (0, 8, 8)


def test_holes_are_never_filled(utc):
    """An hour of which the first quarter, or the first and the third, came is not an hour, nor two half hours."""
    times = every(utc(2025, 10, 1), 15 * MINUTE, 40)
    gone = {17, 18, 19, 21, 23, 26}
    result = aggregated(rows([t for i, t in enumerate(times) if i not in gone]), "mean")
    assert result.accepted["valid_time"].to_list() == [utc(2025, 10, 1, h) for h in (0, 1, 2, 3, 7, 8, 9)]
    assert result.refused["reason"].to_list() == (
        ["1 of 4 values within 1h"] + ["2 of 4 values within 1h"] * 2 + ["3 of 4 values within 1h"] * 3
    )


def test_the_newest_period_waits_for_its_end(utc):
    times = every(utc(2025, 10, 1), 15 * MINUTE, 15)
    result = aggregated(rows(times))
    assert (len(result.accepted), result.later, len(result.refused)) == (3, 3, 0)
    assert len(aggregated(rows([*times, utc(2025, 10, 1, 3, 45)])).accepted) == 4
    # What lacks a part before its end will not come whole.
    assert reasons(aggregated(rows(times[:13] + times[14:]))) == {"2 of 4 values within 1h"}
    # Once the next period has begun, the rest is missing.
    result = aggregated(rows([*times, utc(2025, 10, 1, 4)]))
    assert (reasons(result), result.later) == ({"3 of 4 values within 1h"}, 1)


def test_what_is_not_available_yet_waits(utc):
    times = every(utc(2025, 10, 1), 15 * MINUTE, 16)
    result = aggregated(rows(times), as_of=utc(2025, 10, 1, 3, 30))
    assert (len(result.accepted), result.later) == (3, 4)
    frame = rows(times, known=[t + 15 * MINUTE for t in times])
    result = aggregated(frame, available_at="known", as_of=utc(2025, 10, 1, 2, 30))
    assert (len(result.accepted), result.later, len(result.refused)) == (2, 8, 0)
    assert result.accepted["available_at"].to_list() == [utc(2025, 10, 1, 1), utc(2025, 10, 1, 2)]


def test_values_that_are_missing(utc):
    """A period without any value is missing, which is information; one with some cannot be aggregated."""
    values = [1.0] * 4 + [None] * 4 + [1.0, None, 1.0, float("nan")]
    result = aggregated(rows(every(utc(2025, 10, 1), 15 * MINUTE, 12), values))
    assert result.accepted["y"].to_list() == [4.0, None]
    assert reasons(result) == {"2 of 4 values of y within 1h"}


def test_bounds_hold_for_what_is_folded(utc):
    times, values = every(utc(2025, 10, 1), 15 * MINUTE, 12), [30.0] * 4 + [10.0] * 4 + [30.0] * 4
    result = aggregated(rows(times, values), "sum", bounds=(100.0, None))
    assert result.accepted["y"].to_list() == [120.0, 120.0]
    assert reasons(result) == {"the sum of y is 40.0, below the bound 100.0"}
    values[5] = 900.0
    result = aggregated(rows(times, values), "mean", bounds=(0.0, 100.0))
    assert result.accepted["y"].to_list() == [30.0, 30.0]
    assert reasons(result) == {"y is 900.0, above the bound 100.0", "3 of 4 values within 1h"}


def test_a_check_of_whole_series_takes_all_parts(utc):
    values = np.tile(np.sin(np.arange(96) / 15) + 10, 40)
    values[400:404] = 1000.0
    frame = rows(every(utc(2025, 8, 1), 15 * MINUTE, len(values)), values)
    result = check_rows(frame, shape("mean"), HOURS, (0.0, None), LATE, 168, Checks(spike="quarantine").model_dump())
    assert result.refused["y"].to_list() == [1000.0] * 4
    assert result.refused["reason"].str.starts_with("spike: ").all()
    assert (result.read, len(result.accepted)) == (len(values), len(values) // 4 - 1)


def test_what_is_no_part(utc):
    times = [*every(utc(2025, 10, 1), 15 * MINUTE, 12), utc(2025, 10, 1, 1, 17), utc(2025, 10, 1, 0, 30)]
    result = aggregated(rows([str(t)[:16] for t in times] + ["soon"]))
    assert len(result.accepted) == 3
    assert reasons(result) == {
        "time is not on the 5m grid",
        "t is not a time",
        "duplicate: a later row of the feed has the same series and time",
    }
    assert result.accepted["y"][0] == 1 + 2 + 14 + 4


@pytest.mark.parametrize(("day", "hours"), [("2018-03-25", 23), ("2018-06-01", 24), ("2018-10-28", 25)])
@pytest.mark.parametrize("part", [60, 30, 15, 5])
@pytest.mark.parametrize("start", [0, 6])
def test_local_days(day, hours, part, start):
    """A local day has 23, 24 or 25 hours: 46, 48 or 50 half hours, 92, 96 or 100 quarters; so has a gas day."""
    grid = TimeGrid("1d", "Europe/Madrid", None, start * 3_600_000_000)
    zone = ZoneInfo("Europe/Madrid")
    on = date.fromisoformat(day) - timedelta(days=start > 0)  # the night of the change belongs to the gas day before
    first = datetime.combine(on, time(start), zone).astimezone(UTC)
    count = hours * 60 // part
    instants = every(first, part * MINUTE, count)
    wall = [t.astimezone(zone).replace(tzinfo=None) for t in instants]
    for times, own in ((instants, "UTC"), (wall, "Europe/Madrid")):
        result = aggregated(rows(times, [1.0] * count), grid=grid, time_zone=own)
        assert result.accepted["valid_time"].to_list() == [first]
        assert result.accepted["y"].to_list() == [count]
        assert result.accepted["available_at"].to_list() == [first + timedelta(hours=hours)]
        assert reasons(aggregated(rows(times[1:], [1.0] * (count - 1)), grid=grid, time_zone=own)) == {
            f"{count - 1} of {count} values within 1d"
        }


GRIDS = {"30m": (5, 10, 15), "1h": (5, 10, 15, 30), "1d": (15, 30, 60)}


@settings(max_examples=200, deadline=None)
@given(
    zone=st.sampled_from(ZONES), grid=st.sampled_from([("30m", 0), ("1h", 0), ("1d", 0), ("1d", 6)]),
    turn=st.sampled_from(["spring", "autumn", "none"]), year=st.integers(2006, 2024), seed=st.integers(0, 2**32 - 1),
    local=st.booleans(), changes=st.booleans(),
)  # fmt: skip
def test_energy_is_conserved(zone, grid, turn, year, seed, local, changes):
    """Over clock changes, holes and changes of resolution every row is accepted, refused or waits, with its energy."""
    dice = np.random.default_rng(seed)
    frequency, start = grid
    periods = TimeGrid(frequency, zone, None, start * 3_600_000_000)
    # A clock that changes by half an hour makes the wall clock of hours ambiguous; a day's wall clock names its date.
    changes = changes and not (local and (frequency == "1d" or zone == "Australia/Lord_Howe"))
    part = int(dice.choice([p for p in GRIDS[frequency] if p <= 30 or zone != "Australia/Lord_Howe"]))
    middle = datetime(year, *_turn(zone, year, turn), tzinfo=UTC)
    span = timedelta(days=6) if frequency == "1d" else timedelta(days=1)
    begin, turned, end = (
        datetime.fromtimestamp(int(periods.start(periods.index(np.array([int(t.timestamp() * 1e6)])))[0]) / 1e6, UTC)
        for t in (middle - span, middle, middle + span)
    )
    whole = int((turned - begin) / (part * MINUTE)) if changes else 0
    times = every(begin, part * MINUTE, int((end - begin) / (part * MINUTE)))
    if changes:
        steps = np.unique(periods.index(np.array([int(t.timestamp() * 1e6) for t in times[:whole]])))
        coarse = [datetime.fromtimestamp(int(t) / 1e6, UTC) for t in periods.start(steps)]
        times = coarse + times[whole:]
    # Of a repeated hour of which rows are missing, nobody can tell which came.
    gone = dice.random(len(times)) < (0 if local else dice.choice([0, 0.02, 0.2]))
    times = [t for t, lost in zip(times, gone, strict=True) if not lost]
    values = dice.integers(1, 100, len(times)).astype(float)
    wall = [t.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for t in times] if local else times
    frame = pl.concat(
        [
            rows(wall, values, n=np.arange(len(times))),
            rows(wall, values + 0.5, n=np.arange(len(times))).with_columns(id=pl.lit("b")),
        ]
    )
    as_of = end - timedelta(hours=int(dice.integers(0, 30)))
    result = check_rows(frame, shape(time_zone=zone if local else "UTC"), periods, (None, None), as_of)
    assert result.read == len(frame)
    known = result.accepted["available_at"]
    assert known.is_empty() or known.max() <= as_of
    assert not result.accepted.select("series_id", "valid_time").is_duplicated().any()
    # Every accepted value is the sum of all that was read of its period; the rest was refused, or waits.
    of = periods.index(np.array([int(t.timestamp() * 1e6) for t in times]))
    parts = defaultdict(float)
    for name, extra in (("a", 0.0), ("b", 0.5)):
        for step, value in zip(of.tolist(), values, strict=True):
            parts[name, step] += value + extra
    steps = periods.index(result.accepted["valid_time"].to_physical().to_numpy()).tolist()
    energy = 0.0
    for name, step, value in zip(result.accepted["series_id"], steps, result.accepted["y"], strict=True):
        assert value == parts[name, step]
        energy += value
    refused = set(zip(result.refused["id"], of[result.refused["n"].to_numpy()].tolist(), strict=True))
    assert not refused & set(zip(result.accepted["series_id"], steps, strict=True))
    waiting = parts.keys() - refused - set(zip(result.accepted["series_id"], steps, strict=True))
    assert result.later == sum(int((of == step).sum()) for _, step in waiting)
    assert energy + result.refused["y"].sum() + sum(parts[key] for key in waiting) == frame["y"].sum()
    if not gone.any():
        assert result.refused.is_empty()


def _turn(zone: str, year: int, turn: str) -> tuple[int, int]:
    """Month and day of a change of the clock, or of any day."""
    offsets = [datetime(year, 1, 1, 12, tzinfo=UTC) + timedelta(days=d) for d in range(365)]
    found = [t for t, u in zip(offsets[1:], offsets, strict=False) if _offset(t, zone) != _offset(u, zone)]
    if turn == "none" or not found:
        return 6, 15
    chosen = found[0] if turn == "spring" else found[-1]
    return chosen.month, chosen.day


def _offset(at: datetime, zone: str) -> timedelta | None:
    return at.astimezone(ZoneInfo(zone)).utcoffset()


@settings(max_examples=100, deadline=None)
@given(
    versions=st.lists(
        st.tuples(st.integers(0, 11), st.integers(0, 12), st.one_of(st.none(), st.integers(1, 99))), max_size=40
    ),
    gone=st.integers(0, 12), as_of=st.integers(0, 12),
)  # fmt: skip
def test_revised_parts_give_revised_periods(versions, gone, as_of):
    """Beside the same by hand: at each time, the sum of the newest known of each quarter, once there are four."""
    zero = datetime(2025, 10, 1, tzinfo=UTC)
    told = {(quarter, known): value for quarter, known, value in versions}  # one thing is said at a time
    told |= {(quarter, 2): 1 for quarter in range(28) if quarter != gone}
    table = [(q, k, v) for (q, k), v in told.items()]
    quarters, known, values = zip(*table, strict=True)
    frame = rows([zero + q * 15 * MINUTE for q in quarters], list(values), known=[zero + k * HOUR for k in known])
    result = aggregated(
        frame.with_columns(pl.col("y").cast(pl.Float64)), available_at="known", as_of=zero + as_of * HOUR
    )
    expected = {}
    for hour in range(7):
        at = sorted({k for q, k, _ in table if q // 4 == hour and k <= as_of})
        states = {}
        for moment in at:
            newest = {q: v for q, k, v in sorted(table, key=lambda one: one[1]) if q // 4 == hour and k <= moment}
            if len(newest) == 4:
                some = None in newest.values()
                states[moment] = (None if some else sum(newest.values()), some and any(newest.values()))
        if not all(spoilt for _, spoilt in states.values()):
            expected |= {(hour, moment): value for moment, (value, _) in states.items()}
    got = {
        ((t - zero) / HOUR, (known - zero) / HOUR): y
        for t, known, y in result.accepted.select("valid_time", "available_at", "y").rows()
    }
    assert got == expected


def test_series_are_told_apart(utc):
    """One series changes to quarters, another stays at hours, a third has half hours."""
    first, parts = utc(2025, 10, 1), {"a": 60, "b": 15, "c": 30}
    frames = [
        rows(every(first, part * MINUTE, 12 * 60 // part), [float(part)] * (12 * 60 // part)).with_columns(
            id=pl.lit(name)
        )
        for name, part in parts.items()
    ]
    result = aggregated(pl.concat(frames).sample(fraction=1.0, shuffle=True, seed=1))
    assert result.accepted.group_by("series_id").len().sort("series_id").rows() == [("a", 12), ("b", 12), ("c", 12)]
    assert result.accepted["y"].unique().to_list() == [60.0]


def test_shared_covariates_known_at_all_times(utc):
    frame = rows(every(utc(2025, 10, 1), 30 * MINUTE, 48)).with_columns(period=pl.col("y") * 2)
    result = aggregated(frame, "mean", role="known_future", series_id=None, values=("y", "period"))
    assert len(result.accepted) == 24
    assert result.accepted["available_at"].null_count() == result.accepted["series_id"].null_count() == 24
    assert (result.accepted["period"] == 2 * result.accepted["y"]).all()


def test_nothing_that_can_be_used():
    result = aggregated(rows(["x", "y"]))
    assert (len(result.accepted), len(result.refused)) == (0, 2)
