"""The width of the intervals: what nights ask for, and how much one training's nights count."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from model.evaluation.calibration import interval_ratios, interval_scale, required_scale

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def nights(spread: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of a normal distribution of which `spread` times the right width is told, and what came."""
    actual = np.random.default_rng(7).normal(10, 2, count)
    quantiles = np.broadcast_to(stats.norm(10, 2 * spread).ppf(LEVELS), (count, len(LEVELS)))
    return quantiles, actual


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_the_factor_asked_for_makes_the_interval_cover(spread):
    quantiles, actual = nights(spread)
    factor = required_scale(interval_ratios(quantiles, actual, LEVELS), LEVELS)
    assert factor == pytest.approx(1 / spread, rel=0.03)
    low, high = 10 + factor * (quantiles[0, [0, -1]] - 10)
    assert ((actual >= low) & (actual <= high)).mean() == pytest.approx(0.8, abs=0.01)


def test_what_is_not_known_or_not_finite_says_nothing():
    quantiles, actual = (part.copy() for part in nights(1.0, 1000))
    clean = interval_ratios(quantiles[::2], actual[::2], LEVELS)
    actual[1::4] = np.nan
    quantiles[3::4, 0] = np.nan
    np.testing.assert_array_equal(interval_ratios(quantiles, actual, LEVELS), clean)
    assert required_scale(interval_ratios(quantiles, np.full_like(actual, np.nan), LEVELS), LEVELS) is None


def test_no_width_says_nothing():
    assert required_scale(interval_ratios(np.full((5, 5), 3.0), np.arange(5.0), LEVELS), LEVELS) is None


def test_a_large_table_is_looked_at_in_part():
    quantiles, actual = nights(1.0, 100_000)
    found = interval_ratios(quantiles, actual, LEVELS)
    assert len(found) <= 20_000
    assert required_scale(found, LEVELS) == pytest.approx(1.0, rel=0.03)


def test_the_nights_of_one_training_count_half_and_less_the_more_others_have_said():
    assert interval_scale(None) == pytest.approx(1.2)
    assert interval_scale(1.0) == pytest.approx(1.2**0.5)
    assert interval_scale(1.0, [1.5] * 8) == pytest.approx((1.2 * 1.5**8) ** 0.1)
    assert interval_scale(100.0) == interval_scale(2.0), "a few wild weeks do not make the interval useless"
