"""Heads: quantiles from the network's raw outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.training.heads import QuantileHead, SoftmaxHead

pytestmark = pytest.mark.training

LEVELS = (0.1, 0.25, 0.5, 0.9)


def test_softmax_quantiles_interpolate_the_cumulative_probabilities() -> None:
    edges = torch.tensor([-1.0, 0.0, 1.0, 3.0])
    head = SoftmaxHead(4, LEVELS, edges)
    raw = torch.log(torch.tensor([[[0.2, 0.3, 0.5]]]))
    # 0.1 is half way through the first bin; 0.5 ends the second; 0.9 is four fifths through the last.
    np.testing.assert_allclose(head.quantiles(raw)[0, 0], [-0.5, 0.05 / 0.3, 1.0, 2.6], atol=1e-5)


def test_quantile_head_ascends() -> None:
    head = QuantileHead(4, LEVELS, torch.empty(0))
    assert (head.quantiles(torch.randn(50, 3, 4) * 20).diff(dim=-1) >= 0).all()
