"""The conclusion on the width of the intervals: certain only if the nights show it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from flows.page.score_sections import _calibration_conclusion
from flows.page.skill import reliability, share_by_chance
from storage.schemas import INSTANT

pytestmark = pytest.mark.quick
LEVELS = (0.1, 0.5, 0.9)


def scored(nights: list[list[float]]) -> pl.DataFrame:
    """Return scored rows with the PIT values of each night."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    times = [first + timedelta(days=day) for day, values in enumerate(nights) for _ in values]
    return pl.DataFrame(
        {"issue_time": pl.Series(times, dtype=INSTANT), "pit": [value for values in nights for value in values]}
    )


def conclusion(rows: pl.DataFrame) -> str:
    return _calibration_conclusion(rows, reliability(rows, LEVELS), LEVELS)


def test_nine_nights_with_all_actuals_inside_do_not_show_that_intervals_are_too_wide() -> None:
    text = conclusion(scored([[0.3, 0.7] * 12] * 9))
    assert text == (
        "The 80% interval contains 100% of the actuals. From 9 nights it cannot be said whether the intervals are too "
        "wide: the share in the long run lies between 64% and 100% (95% confidence)."
    )


def test_sixty_nights_with_all_actuals_inside_show_it() -> None:
    assert conclusion(scored([[0.3, 0.7] * 12] * 60)) == (
        "The intervals are too wide: the 80% interval contains 100% of the actuals of 60 nights."
    )


def test_many_nights_with_a_third_of_the_actuals_outside_show_narrow_intervals_and_a_low_median() -> None:
    assert conclusion(scored([[0.3, 0.7, 0.95]] * 60)) == (
        "The intervals are too narrow: the 80% interval contains 67% of the actuals of 60 nights. The median is too "
        "low: 33% of the actuals are at or below it, and 50% are expected."
    )


def test_periods_of_one_night_count_once() -> None:
    # 240 periods, but one night of ten is all outside: as good as no information on 80%.
    rows = scored([[0.5] * 24] * 9 + [[0.95] * 24])
    low, high = share_by_chance(rows, 0.1, 0.9)
    assert low < 0.8 < high
    assert high - low > 0.3


def test_bounds_contain_the_true_share_of_dependent_nights_in_95_of_100_cases() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        levels = random.normal(size=(20, 1)) * 0.8 + random.normal(size=(20, 24)) * 0.6
        shares = np.array([[0.5 if abs(value) < 1.2816 else 0.95 for value in night] for night in levels])
        low, high = share_by_chance(scored(shares.tolist()), 0.1, 0.9)
        held += low <= 0.8 <= high
    assert held >= 184
