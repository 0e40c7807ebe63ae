"""The baseline, against values worked out by hand or by NumPy."""

from __future__ import annotations

import numpy as np

from model.baseline import seasonal_naive, seasonal_scale

LEVELS = np.array([0.1, 0.5, 0.9])


def test_seasonal_naive_repeats_the_last_season():
    history = np.tile([1.0, 2.0, 3.0], 6)[None]
    out = seasonal_naive(history, 3, 5, LEVELS)
    assert (out == np.array([1, 2, 3, 1, 2])[None, :, None]).all()


def test_its_spread_is_the_empirical_quantiles_of_its_errors():
    rng = np.random.default_rng(0)
    history = rng.normal(size=(2, 400)).cumsum(axis=1)
    out = seasonal_naive(history, 1, 3, LEVELS)
    for step in (1, 2, 3):
        errors = history[:, step:] - history[:, :-step]
        expected = history[:, -1:] + np.quantile(errors, LEVELS, axis=1).T
        np.testing.assert_allclose(out[:, step - 1], expected)


def test_gaps_reach_back_to_an_earlier_season_and_the_unknown_to_the_others():
    history = np.array([[1.0, 2, 1, 2, 1, np.nan], [np.nan] * 6])
    out = seasonal_naive(history, 2, 2, LEVELS)
    assert out[0, :, 1].tolist() == [1.0, 2.0]
    assert np.isfinite(out).all()
    assert (np.diff(out, axis=2) >= 0).all()
    assert np.isnan(seasonal_naive(np.full((1, 6), np.nan), 2, 2, LEVELS)).all()


def test_seasonal_scale():
    np.testing.assert_allclose(seasonal_scale(np.array([[1.0, 2, 4, np.nan, 5]]), 1), [1.5])
    assert np.isnan(seasonal_scale(np.array([[np.nan, 1.0]]), 1)).all()
