"""Occlusion effects of a fitted network in ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.forecaster import Forecaster
from model.occlusion import occlusion_effects, segment_bounds
from model.training.export import to_onnx
from model.windows import Windows
from tests.support import made
from tests.support.networks import train

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def fitted() -> tuple[Forecaster, Windows]:
    """A fitted network, and windows."""
    network, samples, _ = train(made.spec(), updates=300)
    return Forecaster(to_onnx(network)), samples


def test_effect_is_the_difference_to_the_forecast_without_an_input(fitted: tuple[Forecaster, Windows]) -> None:
    forecaster, samples = fitted
    window = samples[7:8]
    effects = occlusion_effects(forecaster, window)
    median = forecaster.spec.levels.index(0.5)
    complete = forecaster.quantiles(window)[0, :, median]

    def effect_of(**changed: np.ndarray) -> np.ndarray:
        return complete - forecaster.quantiles(replace(window, **changed))[0, :, median]

    for number in range(3):
        target = window.target.copy()
        target[:, 24 * number : 24 * (number + 1)] = np.nan
        np.testing.assert_array_equal(effects.segments[number], effect_of(target=target))
    hidden = np.full_like(window.known_future, np.nan)
    np.testing.assert_array_equal(effects.covariates["temperature"], effect_of(known_future=hidden))
    hidden[:, :72] = window.known_future[:, :72]
    np.testing.assert_array_equal(effects.horizon_covariates["temperature"], effect_of(known_future=hidden))
    hidden = np.full_like(window.observed, np.nan)
    np.testing.assert_array_equal(effects.covariates["price"], effect_of(observed=hidden))
    assert list(effects.covariates) == ["temperature", "price"] and list(effects.horizon_covariates) == ["temperature"]


def test_temperature_has_a_larger_effect_than_noise(fitted: tuple[Forecaster, Windows]) -> None:
    """In the synthetic data, the temperature of the horizon adds to the target, and `price` is noise."""
    forecaster, samples = fitted
    effects = [occlusion_effects(forecaster, samples[i : i + 1]) for i in range(8)]
    largest = [np.abs(target).max() for target in samples.target[:8]]

    def mean_size(changes: list[np.ndarray]) -> float:
        return float(np.mean([np.abs(change).mean() / size for change, size in zip(changes, largest, strict=True)]))

    temperature = mean_size([effect.horizon_covariates["temperature"] for effect in effects])
    price = mean_size([effect.covariates["price"] for effect in effects])
    assert temperature > 3 * price


def test_missing_input_has_no_effect(fitted: tuple[Forecaster, Windows]) -> None:
    forecaster, samples = fitted
    window = samples[3:4]
    window.target[:, :24] = np.nan
    window.observed[:] = np.nan
    effects = occlusion_effects(forecaster, window)
    assert not effects.segments[0].any()
    assert not effects.covariates["price"].any()
    assert effects.segments[2].any()


def test_oldest_segment_may_be_shorter() -> None:
    np.testing.assert_array_equal(segment_bounds(72, 24), [0, 24, 48, 72])
    np.testing.assert_array_equal(segment_bounds(70, 24), [0, 22, 46, 70])
    np.testing.assert_array_equal(segment_bounds(5, 5), [0, 5])
