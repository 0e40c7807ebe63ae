"""Calibration of the interval width."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from model.evaluation.calibration import interval_ratios, interval_scale, required_scale

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def forecasts(width: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Return actuals of a normal distribution, and its quantiles with `width` times their distance from the median."""
    actual = np.random.default_rng(7).normal(10, 2, count)
    quantiles = np.broadcast_to(stats.norm(10, 2 * width).ppf(LEVELS), (count, len(LEVELS)))
    return quantiles, actual


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_required_scale_makes_the_interval_cover(width: float) -> None:
    quantiles, actual = forecasts(width)
    scale = required_scale(interval_ratios(quantiles, actual, LEVELS), LEVELS)
    assert scale == pytest.approx(1 / width, rel=0.03)
    low, high = 10 + scale * (quantiles[0, [0, -1]] - 10)
    assert ((actual >= low) & (actual <= high)).mean() == pytest.approx(0.8, abs=0.01)


def test_unknown_and_infinite_values_are_left_out() -> None:
    quantiles, actual = (array.copy() for array in forecasts(1.0, 1000))
    clean = interval_ratios(quantiles[::2], actual[::2], LEVELS)
    actual[1::4] = np.nan
    quantiles[3::4, 0] = np.nan
    np.testing.assert_array_equal(interval_ratios(quantiles, actual, LEVELS), clean)
    assert required_scale(interval_ratios(quantiles, np.full_like(actual, np.nan), LEVELS), LEVELS) is None


def test_zero_width_is_left_out() -> None:
    assert required_scale(interval_ratios(np.full((5, 5), 3.0), np.arange(5.0), LEVELS), LEVELS) is None


def test_large_table_is_sampled() -> None:
    quantiles, actual = forecasts(1.0, 100_000)
    ratios = interval_ratios(quantiles, actual, LEVELS)
    assert len(ratios) <= 20_000
    assert required_scale(ratios, LEVELS) == pytest.approx(1.0, rel=0.03)


def test_one_training_counts_as_much_as_the_prior_and_each_earlier_one() -> None:
    assert interval_scale(None) == pytest.approx(1.2)
    assert interval_scale(1.0) == pytest.approx(1.2**0.5)
    assert interval_scale(1.0, [1.5] * 8) == pytest.approx((1.2 * 1.5**8) ** 0.1)
    assert interval_scale(100.0) == interval_scale(2.0), "one observation is limited"
