"""The baseline, against values worked out by hand or by NumPy."""

from __future__ import annotations

import numpy as np

from model.baseline import seasonal_naive, seasonal_scale

LEVELS = np.array([0.1, 0.5, 0.9])


def test_seasonal_naive_repeats_the_last_season() -> None:
    history = np.tile([1.0, 2.0, 3.0], 6)[None]
    quantiles = seasonal_naive(history, 3, 5, LEVELS)
    assert (quantiles == np.array([1, 2, 3, 1, 2])[None, :, None]).all()


def test_quantiles_are_those_of_the_errors() -> None:
    rng = np.random.default_rng(0)
    history = rng.normal(size=(2, 400)).cumsum(axis=1)
    quantiles = seasonal_naive(history, 1, 3, LEVELS)
    for step in (1, 2, 3):
        errors = history[:, step:] - history[:, :-step]
        expected = history[:, -1:] + np.quantile(errors, LEVELS, axis=1).T
        np.testing.assert_allclose(quantiles[:, step - 1], expected)


def test_gaps_use_an_earlier_season_and_unknown_series_use_the_others() -> None:
    history = np.array([[1.0, 2, 1, 2, 1, np.nan], [np.nan] * 6])
    quantiles = seasonal_naive(history, 2, 2, LEVELS)
    assert quantiles[0, :, 1].tolist() == [1.0, 2.0]
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=2) >= 0).all()
    assert np.isnan(seasonal_naive(np.full((1, 6), np.nan), 2, 2, LEVELS)).all()


def test_seasonal_scale() -> None:
    np.testing.assert_allclose(seasonal_scale(np.array([[1.0, 2, 4, np.nan, 5]]), 1), [1.5])
    assert np.isnan(seasonal_scale(np.array([[np.nan, 1.0]]), 1)).all()


def test_a_series_too_young_for_an_error_has_an_interval() -> None:
    history = np.full((2, 400), np.nan)
    young = 100 + 20 * np.sin(np.arange(48) / 24 * 2 * np.pi)
    history[0, -48:] = young
    history[1, -1] = 5.0
    quantiles = seasonal_naive(history, 168, 24, LEVELS)
    width = np.diff(np.quantile(young, [0.1, 0.9]))
    np.testing.assert_allclose(quantiles[0, :, 2] - quantiles[0, :, 0], np.full(24, width))
    assert (quantiles[1] == 5.0).all(), "one value tells nothing about its spread"


def test_a_constant_has_no_width() -> None:
    assert (seasonal_naive(np.full((1, 30), 7.0), 7, 7, LEVELS) == 7).all()
