"""Values that are impossible beside the others of their series: found where they are few, and never a real change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.checks.newest_values import find_implausible, starts_with_run
from tests.support.examples import examples

DAY = 24
HOURS = np.arange(28 * DAY)
LOAD = 1000 + 300 * np.sin(HOURS / DAY * 2 * np.pi)
SUN = np.maximum(0.0, -800 * np.cos(HOURS / DAY * 2 * np.pi))


def found(series: np.ndarray, steps_per_day: int = DAY) -> list[int]:
    """Return the columns that are found in one series, which stands between two others."""
    other = np.resize(LOAD, len(series))
    result = find_implausible(np.stack([other, series, -other]).astype(np.float32), steps_per_day)
    if result is None:
        return []
    assert not result[[0, 2]].any()
    return [int(column) for column in np.flatnonzero(result[1])]


@pytest.mark.parametrize(("cells", "value"), [(slice(-1, None), 1e9), (slice(-3 * DAY, None), 1000 * LOAD[-3 * DAY :])])
def test_a_newest_slip_and_a_newest_unit_are_found(cells: slice, value: float | np.ndarray) -> None:
    series = LOAD.copy()
    series[cells] = value
    assert found(series) == list(range(len(series)))[cells]


@given(
    start=st.integers(DAY, len(LOAD) - 6 * DAY),
    hours=st.integers(2 * DAY, 5 * DAY),
    factor=st.sampled_from([1000.0, 0.001, 1e6, 1e-6]),
    days=st.integers(14, 28),
)
@settings(max_examples=examples(40), deadline=None)
def test_a_few_days_in_another_unit_are_found_wherever_they_are(
    start: int, hours: int, factor: float, days: int
) -> None:
    series = LOAD.copy()
    series[start : start + hours] *= factor
    first = len(series) - days * DAY
    expected = [column - first for column in range(start, start + hours) if column >= first]
    if start > first + DAY:
        assert found(series[first:]) == expected
    elif len(expected) > DAY:
        # The beginning of the run is not visible, so older values decide.
        assert found(series[first:]) in ([], expected)
        assert starts_with_run(series[None, first:], DAY).tolist() == [0] or found(series[first:]) == expected


def test_unit_jump_of_the_sun_is_found_in_the_hours_of_sun() -> None:
    series = SUN.copy()
    series[10 * DAY : 13 * DAY] *= 1000
    assert found(series) == [column for column in range(10 * DAY, 13 * DAY) if SUN[column] > 1e-9]


def test_a_slip_within_the_context_is_found_alone() -> None:
    series = LOAD.copy()
    series[400] = 1e9
    assert found(series) == [400]


def _outage() -> np.ndarray:
    series = LOAD.copy()
    series[10 * DAY : 13 * DAY] = 3.0  # auxiliary supply of a plant that stands still
    return series


def _level(factor: float, days: int) -> np.ndarray:
    series = LOAD.copy()
    series[-days * DAY :] *= factor
    return series


def _bulk_orders() -> np.ndarray:
    orders = np.random.default_rng(0).poisson(0.4, 400).astype(float)
    orders[200] = 250.0
    return orders


REAL = {
    "price of 80 times": np.where(HOURS == len(HOURS) - 1, 4000.0, 50.0),
    "negative prices": np.where(HOURS % 50 == 0, -400.0, 5.0 + HOURS % 7),
    "first sun of the year": np.where(len(HOURS) - DAY > HOURS, 0.0, 5.0),
    "young": np.where(len(HOURS) - 5 * DAY > HOURS, np.nan, np.where(HOURS % 2, 1.0, 300.0)),
    "outage": _outage(),
    "zero for days": np.where((HOURS > 240) & (HOURS < 300), 0.0, LOAD),
    "weekends of standby": np.where(HOURS // DAY % 7 < 5, 5000.0, 20.0),
    "level of 1000 times since 6 days": _level(1000, 6),
    "level of 1000 times since 14 days": _level(1000, 14),
    "level of a 1000th since 6 days": _level(0.001, 6),
    "level of 1000 times until 10 days after the start": _level(0.001, 18),
    "sun in fog": np.where((HOURS > 240) & (HOURS < 300), SUN / 90, SUN),
}


@pytest.mark.parametrize("name", REAL)
def test_real_values_are_plausible(name: str) -> None:
    assert found(REAL[name]) == []


def test_intermittent_series_and_single_values_are_plausible() -> None:
    assert found(_bulk_orders(), 1) == []
    assert find_implausible(np.array([[1e9]]), 1) is None
    assert find_implausible(np.full((2, 600), np.nan), DAY) is None
    assert not len(starts_with_run(np.full((2, 600), np.nan), DAY))
