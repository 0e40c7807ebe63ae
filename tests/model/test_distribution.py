"""P(value > x) from a softmax head's file: what the published quantiles say, and as a distribution must be."""

from __future__ import annotations

import numpy as np
import pytest

from model.baseline import naive_probability_above, seasonal_naive
from model.distribution import clip_probability, probability_above
from model.forecaster import Forecaster
from model.training.export import to_onnx, verify_export
from tests.support import made
from tests.support.networks import LEVELS, train

pytestmark = pytest.mark.training


@pytest.fixture(scope="module", params=[1, 3])
def softmax(request):
    """A fitted softmax network of so many members."""
    network, samples, _ = train(made.spec(head="softmax", members=request.param), updates=120)
    network.interval_scale.fill_(1.6)
    model = to_onnx(network)
    assert verify_export(network, model, samples) <= 1e-5
    return Forecaster(model), samples[:40]


def test_it_agrees_with_the_quantiles(softmax):
    """P(value > q_p) = 1 - p, with several members too, since the distribution is the one whose quantiles are given."""
    forecaster, samples = softmax
    quantiles = forecaster.quantiles(samples)
    _, edges, shares = forecaster.outputs(samples, ["quantiles", "edges", "probabilities"])
    for row in range(0, 40, 7):
        for step in range(0, 24, 5):
            part = (slice(row, row + 1), slice(step, step + 1))
            found = probability_above(edges[part], shares[part], tuple(quantiles[row, step]))[0, 0]
            off_the_bound = quantiles[row, step] > 0
            np.testing.assert_allclose(found[off_the_bound], 1 - np.array(LEVELS)[off_the_bound], atol=2e-4)


def test_it_falls_from_one_to_zero(softmax):
    forecaster, samples = softmax
    above = (-1e9, 0.0, 1.0, 4.0, 50.0, 150.0, 1000.0, 5000.0, 1e9)
    quantiles, found = np.split(forecaster.forecast(samples, above), [len(LEVELS)], axis=2)
    np.testing.assert_array_equal(quantiles, forecaster.quantiles(samples))
    assert (np.diff(found, axis=2) <= 1e-9).all()
    assert (found[..., 0] == 1).all() and (found[..., -1] == 0).all()
    assert ((found > 0.01) & (found < 0.99)).any()


def test_it_does_not_depend_on_the_batch(softmax):
    forecaster, samples = softmax
    whole = forecaster.forecast(samples, (5.0, 150.0))
    parts = [forecaster.forecast(samples[i : i + 1], (5.0, 150.0)) for i in range(len(samples))]
    assert (np.concatenate(parts) == whole).all()


def test_within_a_bin_it_is_a_straight_line():
    edges = np.array([0.0, 1.0, 3.0]).reshape(1, 1, 1, 3)
    shares = np.array([0.25, 0.75]).reshape(1, 1, 1, 2)
    found = probability_above(edges, shares, (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0))[0, 0]
    np.testing.assert_allclose(found, [1, 1, 0.875, 0.75, 0.375, 0, 0], atol=1e-12)


def test_members_are_averaged_quantile_by_quantile():
    """Uniform on 0..2 and on 10..14: the mean of their quantile functions is uniform on 5..8."""
    edges = np.array([[0.0, 1.0, 2.0], [10.0, 12.0, 14.0]]).reshape(1, 1, 2, 3)
    shares = np.full((1, 1, 2, 2), 0.5)
    found = probability_above(edges, shares, (4.9, 5.0, 6.0, 7.25, 8.0, 9.0))[0, 0]
    np.testing.assert_allclose(found, [1, 1, 2 / 3, 0.25, 0, 0], atol=1e-9)


def test_what_lies_beyond_a_bound_is_at_it():
    asked = (-5.0, 0.0, 3.0, 10.0)
    found = clip_probability(np.array([0.99, 0.9, 0.5, 0.1]), asked, 0.0, 10.0)
    np.testing.assert_array_equal(found, [1.0, 0.9, 0.5, 0.0])


def test_the_baselines_agrees_with_its_quantiles():
    rng = np.random.default_rng(2)
    history = np.stack([rng.normal(50, 5, 400), 3 * rng.gamma(2.0, 10.0, 400), np.full(400, 7.0), np.full(400, np.nan)])
    history[0, ::9] = np.nan
    levels = np.array([0.1, 0.25, 0.5, 0.9])
    quantiles = seasonal_naive(history, 24, 30, levels)
    for row in range(2):
        for step in (0, 23, 24, 29):
            found = naive_probability_above(history, 24, 30, tuple(quantiles[row, step]))[row, step]
            np.testing.assert_allclose(found, 1 - levels, atol=1e-9)
    constant = naive_probability_above(history, 24, 30, (6.9, 7.0, 7.1))[2]
    assert (constant == [1, 0, 0]).all()
    assert np.isnan(naive_probability_above(history, 24, 30, (1.0,))[3]).all()


def test_a_quantile_heads_file_has_none():
    network, _, _ = train(made.spec(), updates=5)
    assert not Forecaster(to_onnx(network)).has_probabilities
