"""Exceedance probabilities, against values worked out by hand."""

from __future__ import annotations

import numpy as np

from model.baseline import naive_probability_above, seasonal_naive
from model.distribution import clip_probability, probability_above


def test_probability_is_linear_within_a_bin() -> None:
    edges = np.array([0.0, 1.0, 3.0]).reshape(1, 1, 1, 3)
    shares = np.array([0.25, 0.75]).reshape(1, 1, 1, 2)
    probability = probability_above(edges, shares, (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0))[0, 0]
    np.testing.assert_allclose(probability, [1, 1, 0.875, 0.75, 0.375, 0, 0], atol=1e-12)


def test_quantiles_of_members_are_averaged() -> None:
    """The mean quantile function of uniform distributions on 0..2 and 10..14 is that of a uniform one on 5..8."""
    edges = np.array([[0.0, 1.0, 2.0], [10.0, 12.0, 14.0]]).reshape(1, 1, 2, 3)
    shares = np.full((1, 1, 2, 2), 0.5)
    probability = probability_above(edges, shares, (4.9, 5.0, 6.0, 7.25, 8.0, 9.0))[0, 0]
    np.testing.assert_allclose(probability, [1, 1, 2 / 3, 0.25, 0, 0], atol=1e-9)


def test_probability_beyond_a_bound_is_moved_to_it() -> None:
    thresholds = (-5.0, 0.0, 3.0, 10.0)
    clipped = clip_probability(np.array([0.99, 0.9, 0.5, 0.1]), thresholds, 0.0, 10.0)
    np.testing.assert_array_equal(clipped, [1.0, 0.9, 0.5, 0.0])


def test_probability_of_the_baseline_agrees_with_its_quantiles() -> None:
    rng = np.random.default_rng(2)
    history = np.stack([rng.normal(50, 5, 400), 3 * rng.gamma(2.0, 10.0, 400), np.full(400, 7.0), np.full(400, np.nan)])
    history[0, ::9] = np.nan
    levels = np.array([0.1, 0.25, 0.5, 0.9])
    quantiles = seasonal_naive(history, 24, 30, levels)
    for row in range(2):
        for step in (0, 23, 24, 29):
            probability = naive_probability_above(history, 24, 30, tuple(quantiles[row, step]))[row, step]
            np.testing.assert_allclose(probability, 1 - levels, atol=1e-9)
    constant = naive_probability_above(history, 24, 30, (6.9, 7.0, 7.1))[2]
    assert (constant == [1, 0, 0]).all()
    assert np.isnan(naive_probability_above(history, 24, 30, (1.0,))[3]).all()
