"""Scale and residual prior of a network whose season is one step, as of a market."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.spec import UNKNOWN
from model.training.devices import to_tensors
from model.training.export import to_onnx, verify_export
from model.training.features import Features
from model.training.fit import fit
from model.training.market_statistics import market_statistics, reversions, volatility_roots
from model.training.network import MarketStatistics, untrained_network
from model.training.options import FitOptions
from model.training.samples import Sampler, make_batch
from tests.support import made

pytestmark = pytest.mark.training


def test_the_scale_of_a_market_follows_its_recent_volatility() -> None:
    features = Features(made.spec(season=1, segment=5, context=60))

    def scale(*sizes: float) -> float:
        """Return the scale of a walk with steps of these sizes, up and down in alternation."""
        walk = torch.cumsum(torch.tensor(sizes) * (-1) ** torch.arange(60), 0)[None]
        return float(features.window_statistics(walk, torch.ones_like(walk))[2])

    assert scale(*[1.0] * 60) == pytest.approx(1.0)
    late, early = scale(*[1.0] * 50, *[4.0] * 10), scale(*[4.0] * 10, *[1.0] * 50)
    assert 2 < late < 3.5
    assert 1 < early < 1.3
    # A single spike does not dominate the scale.
    assert scale(*[1.0] * 55, 100.0, *[1.0] * 4) < 5


def test_a_market_forecast_is_the_mean_of_network_and_residual_quantiles() -> None:
    spec = made.spec(season=1, horizon=5, segment=5, context=60)
    data = made.training_data(spec)
    (network,) = fit(data, FitOptions(7, max_updates=30)).networks
    drawn = data.source.draw(np.random.default_rng(1), 3000)
    with torch.inference_mode():
        raw, base, scale = network(**to_tensors(drawn.windows))
        forecast = network.quantiles(raw, base, scale)
        from_head = base + scale * network.head.quantiles(raw)
        residual = (torch.from_numpy(drawn.actual)[..., None] - base) / scale
        prior = (2 * forecast - from_head - base) / scale
    assert (forecast.diff(dim=-1) >= 0).all()
    expected = torch.nanquantile(residual[..., 0], torch.tensor(spec.levels), dim=0).T
    np.testing.assert_allclose(prior.mean(dim=0), expected, atol=0.25)
    np.testing.assert_allclose(prior.std(dim=0), 0, atol=1e-2)


def test_the_scale_of_a_calm_market_leans_on_its_whole_history() -> None:
    features = Features(made.spec(season=1, segment=5, context=60))
    walk = 100 + torch.cumsum(0.1 * (-1.0) ** torch.arange(60), 0)[None]
    mask = torch.ones_like(walk)

    def scale(root: float | None) -> float:
        return float(features.window_statistics(walk, mask, None if root is None else torch.tensor([[root]]))[2])

    calm = scale(None)
    assert calm == pytest.approx(0.1, rel=1e-3)
    assert scale(0.0) == calm, "an unknown volatility changes nothing"
    # Changes of 1 of 100 over the history: a root of 0.1 relative to the level. Its share of the mean is a third.
    assert scale(0.1) == pytest.approx(((2 * 0.1**0.5 + 1) / 3) ** 2, rel=1e-3)


def test_the_volatility_of_a_series_is_that_of_its_visible_changes() -> None:
    spec = made.spec(season=1, horizon=5, segment=5, context=20)
    data = made.training_data(spec)
    roots = volatility_roots(data.source)
    assert roots[UNKNOWN] == 0 and (roots[1:] > 0).all()
    panel, source = data.source.panel, data.source
    last = source.last - panel.first + 1
    values = panel.target.final(np.array([0]), np.array([0]), last)[0]
    layer = panel.target.layers[0].values
    layer[0, :last:7] = np.nan
    gaps = volatility_roots(source)
    assert gaps[1] == pytest.approx(float(roots[1]), rel=0.25)
    layer[0, : last - 2 * spec.context] = np.nan
    short = volatility_roots(source)
    assert short[1] == 0, "too few changes"
    layer[0, :last] = values
    assert market_statistics(made.training_data(made.spec()).source, None) == MarketStatistics()


def test_the_spike_of_a_value_is_what_exceeds_the_mean_by_far() -> None:
    features = Features(made.spec(season=1, segment=5, context=60))
    base = torch.tensor([2.0, 2.8, 5.0, 0.5, -1.0])[:, None, None]
    location = torch.tensor([2.0, 2.0, 2.0, 2.0, -2.0])[:, None]
    assert features.spike(base, location).flatten().tolist() == pytest.approx([0, 0, 2.2, -0.7, 0.2])


def spiked_source(share: float, spikes: int) -> Sampler:
    """Return windows of a price of 10 with spikes to 20, of which `share` is gone after a day, all after two."""
    spec = made.spec(season=1, horizon=5, segment=5, context=20)
    source = made.training_data(spec).source
    values = source.panel.target.layers[0].values
    values[:] = 10.0
    for number in range(spikes):
        first = 100 + 30 * number
        values[0, first : first + 2] = 20.0, 20.0 - 10.0 * share
    return source


def test_a_spike_ends_as_those_of_the_history_did() -> None:
    source = spiked_source(0.5, spikes=40)
    shares = reversions(source)
    # The mean of a window with the spike is 10.5, so that 5.3 of 20 are a spike. It loses 5 after a step, 10 after two.
    assert shares[1].tolist() == pytest.approx([5 / 5.3, 1, 1, 1, 1], rel=1e-3)
    assert (shares[UNKNOWN] == 0).all() and (shares[2:] == 0).all(), "other series have none"
    assert (reversions(spiked_source(0.5, spikes=4))[1] == 0).all(), "few spikes decide nothing"


def test_the_forecast_of_a_market_expects_the_end_of_a_spike() -> None:
    source = spiked_source(0.5, spikes=40)
    network = untrained_network(source.spec)
    shares = reversions(source)
    network.networks[0].reversions = shares
    steps = np.array([source.panel.first + 101, source.panel.first + 111])  # a step after a spike began, ten later
    sample = make_batch(source.spec, source.panel, np.zeros(2, np.int64), steps, source.panel.grid.start(steps))
    with torch.inference_mode():
        _, base, _ = network.networks[0](**to_tensors(sample.windows))
    np.testing.assert_allclose(base[0, :, 0], 20 - 5.3 * shares[1], rtol=1e-5)
    np.testing.assert_allclose(base[1, :, 0], 10, rtol=1e-5)
    assert verify_export(network, to_onnx(network), sample.windows) < 1e-5
