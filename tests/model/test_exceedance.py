"""Exceedance probabilities of a fitted softmax head: consistent with its quantiles, and a distribution."""

from __future__ import annotations

import numpy as np
import pytest

from model.distribution import probability_above
from model.forecaster import Forecaster
from model.training.export import to_onnx, verify_export
from model.windows import Windows
from tests.support import made
from tests.support.networks import LEVELS, train

pytestmark = pytest.mark.training


@pytest.fixture(scope="module", params=[1, 3])
def softmax(request: pytest.FixtureRequest) -> tuple[Forecaster, Windows]:
    """A fitted softmax network, and windows. The parameter is the number of members."""
    network, samples, _ = train(made.spec(head="softmax", members=request.param), updates=120)
    network.interval_scale.fill_(1.6)
    model = to_onnx(network)
    assert verify_export(network, model, samples) <= 1e-5
    return Forecaster(model), samples[:40]


def test_probability_agrees_with_the_quantiles(softmax: tuple[Forecaster, Windows]) -> None:
    """P(value > q_p) = 1 - p, also with several members."""
    forecaster, samples = softmax
    quantiles = forecaster.quantiles(samples)
    _, edges, shares = forecaster.outputs(samples, ["quantiles", "edges", "probabilities"])
    for row in range(0, 40, 7):
        for step in range(0, 24, 5):
            cell = (slice(row, row + 1), slice(step, step + 1))
            probability = probability_above(edges[cell], shares[cell], tuple(quantiles[row, step]))[0, 0]
            is_inside = quantiles[row, step] > 0  # A quantile at the bound has more than its own level below it.
            np.testing.assert_allclose(probability[is_inside], 1 - np.array(LEVELS)[is_inside], atol=2e-4)


def test_probability_falls_from_one_to_zero(softmax: tuple[Forecaster, Windows]) -> None:
    forecaster, samples = softmax
    thresholds = (-1e9, 0.0, 1.0, 4.0, 50.0, 150.0, 1000.0, 5000.0, 1e9)
    quantiles, probability = np.split(forecaster.forecast(samples, thresholds), [len(LEVELS)], axis=2)
    np.testing.assert_array_equal(quantiles, forecaster.quantiles(samples))
    assert (np.diff(probability, axis=2) <= 1e-9).all()
    assert (probability[..., 0] == 1).all() and (probability[..., -1] == 0).all()
    assert ((probability > 0.01) & (probability < 0.99)).any()


def test_probability_does_not_depend_on_the_batch(softmax: tuple[Forecaster, Windows]) -> None:
    forecaster, samples = softmax
    together = forecaster.forecast(samples, (5.0, 150.0))
    one_by_one = [forecaster.forecast(samples[i : i + 1], (5.0, 150.0)) for i in range(len(samples))]
    assert (np.concatenate(one_by_one) == together).all()


def test_quantile_head_has_no_probabilities() -> None:
    network, _, _ = train(made.spec(), updates=5)
    assert not Forecaster(to_onnx(network)).has_probabilities
