"""Weights of a network in its ONNX file: written into the graph of its shape, and read back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.spec import ModelSpec
from model.training import export
from model.training.export import from_onnx, to_onnx, verify_export
from model.training.export_cache import ExportCache, use_export_cache
from model.training.graph import graph_template
from model.training.network import CovariateStatistics, Ensemble, MarketStatistics, SegmentLSTM, uses_residual_prior
from model.training.samples import build_sampler
from tests.support import made

pytestmark = pytest.mark.training

SHAPES: list[dict[str, Any]] = [
    {"cell": "lstm", "head": "quantile", "members": 2, "layers": 2, "horizon": 30},
    {"cell": "lstm", "head": "softmax", "members": 1, "layers": 1},
    {"cell": "rnn", "head": "quantile", "members": 1, "layers": 2, "horizon": 30},
    {"cell": "lstm", "head": "quantile", "members": 1, "layers": 1, "season": 1},
]


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return made.spec(**request.param)


def random_network(spec: ModelSpec, seed: int) -> Ensemble:
    """Return a network with random weights and statistics."""
    torch.manual_seed(seed)

    def member() -> SegmentLSTM:
        known, observed = len(spec.known_future), len(spec.observed)
        statistics = CovariateStatistics(
            torch.randn(known), torch.rand(known) + 1, torch.randn(observed), torch.rand(observed) + 1
        )
        edges = torch.cumsum(torch.rand(65) / 5, 0) - 6 if spec.head == "softmax" else torch.empty(0)
        prior = torch.randn(spec.horizon, len(spec.levels)).sort(dim=1).values if uses_residual_prior(spec) else None
        rows, is_market = len(spec.series) + 1, spec.season == 1
        market = MarketStatistics(
            prior, torch.rand(rows) if is_market else None, torch.rand(rows, spec.horizon) if is_market else None
        )
        network = SegmentLSTM(spec, statistics, edges, market)
        for parameter in (network.linear_skip.weight, *network.head.out.parameters()):  # zero by default
            torch.nn.init.normal_(parameter, std=0.1)
        return network

    ensemble = Ensemble(spec, [member() for _ in range(spec.members)])
    ensemble.interval_scale.fill_(1 + seed / 10)
    return ensemble.eval()


@contextmanager
def export_cache(cache: ExportCache) -> Iterator[None]:
    """Use another cache of exported graphs within the context."""
    previous = use_export_cache(cache)
    try:
        yield
    finally:
        use_export_cache(previous)


def refuse(*_: object) -> bytes:
    raise AssertionError("a graph was requested")


def test_every_weight_is_read_back(spec: ModelSpec) -> None:
    network = random_network(spec, 1)
    read = from_onnx(to_onnx(network), spec)
    assert read is not None
    expected, state = network.state_dict(), read.state_dict()
    assert state.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(state[name], expected[name])] == []


def test_a_second_network_of_a_shape_needs_no_second_export(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = made.panel(spec)
    last = panel.first + 1200
    samples = build_sampler(spec, panel, last, 0, last).draw(np.random.default_rng(0), 70).windows
    first = to_onnx(random_network(spec, 1))
    with export_cache(refuse):
        second = random_network(spec, 2)
        content = to_onnx(second)
        assert content != first
        assert verify_export(second, content, samples, (1, 2, 70)) <= 1e-5
        assert to_onnx(random_network(spec, 1)) == first
        monkeypatch.setattr(export, "graph_template", refuse)  # another process holds only the first file
        assert to_onnx(second, like=first) == content


def test_a_cache_gets_one_key_per_shape() -> None:
    """Sizes and settings of the network are part of its shape, names are not."""
    shape = made.spec(horizon=31)  # no other test exports it

    class Requested(Exception):
        """The key that was requested from the cache."""

    def request(key: str, export: object) -> bytes:
        raise Requested(key)

    def key(spec: ModelSpec) -> str:
        with export_cache(request), pytest.raises(Requested) as requested:
            graph_template(spec)
        return str(requested.value)

    first = key(shape)
    alike: list[dict[str, Any]] = [
        {"series": ("x", "y", "z")}, {"known_future": ("wind",)}, {"timezone": "UTC"}, {"members": 3},
    ]  # fmt: skip
    assert {key(replace(shape, **changes)) for changes in alike} == {first}
    others: list[dict[str, Any]] = [
        {"series": ("x", "y")}, {"known_future": ()}, {"head": "softmax"}, {"hidden_size": 9}, {"layers": 2},
    ]  # fmt: skip
    assert len({first, *(key(replace(shape, **changes)) for changes in others)}) == 6


def test_a_file_of_another_spec_holds_no_network(spec: ModelSpec) -> None:
    content = to_onnx(random_network(spec, 1))
    for other in (replace(spec, series=("a", "b", "d")), replace(spec, levels=(0.1, 0.2, 0.5, 0.9))):
        assert from_onnx(content, other) is None
