"""Scale and residual prior of a network whose season is one step, as of a market."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.training.devices import to_tensors
from model.training.features import Features
from model.training.fit import fit
from model.training.options import FitOptions
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
    np.testing.assert_allclose(prior.mean(dim=0), expected, atol=0.15)
    np.testing.assert_allclose(prior.std(dim=0), 0, atol=1e-2)
