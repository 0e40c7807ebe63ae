"""What hiding parts of a window does to a forecast, on a fitted network in ONNX Runtime."""

from __future__ import annotations

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
def fitted():
    network, samples, _ = train(made.spec(), updates=300)
    return Forecaster(to_onnx(network)), samples


def test_each_part_is_the_forecast_with_it_less_the_one_without(fitted):
    forecaster, samples = fitted
    window = samples[7:8]
    found = occlusion_effects(forecaster, window)
    median = forecaster.spec.levels.index(0.5)
    whole = forecaster.quantiles(window)[0, :, median]

    def without(**changed) -> np.ndarray:
        return whole - forecaster.quantiles(Windows(**window.inputs() | changed))[0, :, median]

    for number in range(3):
        target = window.target.copy()
        target[:, 24 * number : 24 * (number + 1)] = np.nan
        np.testing.assert_array_equal(found.segments[number], without(target=target))
    gone = np.full_like(window.known_future, np.nan)
    np.testing.assert_array_equal(found.covariates["temperature"], without(known_future=gone))
    gone[:, :72] = window.known_future[:, :72]
    np.testing.assert_array_equal(found.horizon_covariates["temperature"], without(known_future=gone))
    gone = np.full_like(window.observed, np.nan)
    np.testing.assert_array_equal(found.covariates["price"], without(observed=gone))
    assert list(found.covariates) == ["temperature", "price"] and list(found.horizon_covariates) == ["temperature"]


def test_what_matters_is_found(fitted):
    """In the made data temperature ahead adds to the target, and `price` is noise."""
    forecaster, samples = fitted
    sizes = [occlusion_effects(forecaster, samples[i : i + 1]) for i in range(8)]
    ahead = np.mean([np.abs(found.horizon_covariates["temperature"]).mean() / np.abs(w).max() for found, w in zip(
        sizes, samples.target, strict=False)])  # fmt: skip
    noise = np.mean([np.abs(found.covariates["price"]).mean() / np.abs(w).max() for found, w in zip(
        sizes, samples.target, strict=False)])  # fmt: skip
    assert ahead > 3 * noise


def test_what_was_not_there_moves_nothing(fitted):
    forecaster, samples = fitted
    window = samples[3:4]
    window.target[:, :24] = np.nan
    window.observed[:] = np.nan
    found = occlusion_effects(forecaster, window)
    assert not found.segments[0].any()
    assert not found.covariates["price"].any()
    assert found.segments[2].any()


def test_the_oldest_segment_may_be_a_part_of_one():
    np.testing.assert_array_equal(segment_bounds(72, 24), [0, 24, 48, 72])
    np.testing.assert_array_equal(segment_bounds(70, 24), [0, 22, 46, 70])
    np.testing.assert_array_equal(segment_bounds(5, 5), [0, 5])
