"""The weights of a network in its ONNX file: written into the graph of its shape, and read back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.spec import ModelSpec
from model.training import export
from model.training.export import from_onnx, to_onnx, verify_export
from model.training.export_cache import use_export_cache
from model.training.graph import graph_template
from model.training.network import CovariateStatistics, Ensemble, SegmentLSTM, uses_residual_prior
from model.training.samples import build_sampler
from tests.support import made

SHAPES = [
    {"cell": "lstm", "head": "quantile", "members": 2, "layers": 2, "horizon": 30},
    {"cell": "lstm", "head": "softmax", "members": 1, "layers": 1},
    {"cell": "rnn", "head": "softmax", "members": 2, "layers": 1},
    {"cell": "rnn", "head": "quantile", "members": 1, "layers": 2, "horizon": 30, "season": 1},
]


def network(spec: ModelSpec, seed: int) -> Ensemble:
    """One whose every weight and statistic is its own."""
    torch.manual_seed(seed)

    def member() -> SegmentLSTM:
        known, observed = len(spec.known_future), len(spec.observed)
        statistics = CovariateStatistics(
            torch.randn(known), torch.rand(known) + 1, torch.randn(observed), torch.rand(observed) + 1
        )
        edges = torch.cumsum(torch.rand(65) / 5, 0) - 6 if spec.head == "softmax" else torch.empty(0)
        usual = torch.randn(spec.horizon, len(spec.levels)).sort(dim=1).values if uses_residual_prior(spec) else None
        one = SegmentLSTM(spec, statistics, edges, usual)
        for parameter in (one.linear_skip.weight, *one.head.out.parameters()):  # what begins as zeros
            torch.nn.init.normal_(parameter, std=0.1)
        return one

    whole = Ensemble(spec, [member() for _ in range(spec.members)])
    whole.interval_scale.fill_(1 + seed / 10)
    return whole.eval()


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def spec(request) -> ModelSpec:
    return made.spec(**request.param)


def test_every_weight_comes_back(spec):
    first = network(spec, 1)
    found = from_onnx(to_onnx(first), spec)
    assert found is not None
    expected, held = first.state_dict(), found.state_dict()
    assert held.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(held[name], expected[name])] == []


def refuse_export(*_: object) -> bytes:
    raise AssertionError("a graph was exported")


def test_a_second_network_of_a_shape_needs_no_second_export(spec, monkeypatch):
    panel = made.panel(spec)
    last = panel.first + 1200
    samples = build_sampler(spec, panel, last, 0, last).draw(np.random.default_rng(0), 70).windows
    first = to_onnx(network(spec, 1))
    previous = use_export_cache(refuse_export)
    try:
        second = network(spec, 2)
        model = to_onnx(second)
        assert model != first
        assert verify_export(second, model, samples, (1, 2, 70)) <= 1e-5
        assert to_onnx(network(spec, 1)) == first
        monkeypatch.setattr(export, "graph_template", refuse_export)  # another process holds only the first file
        assert to_onnx(second, like=first) == model
    finally:
        use_export_cache(previous)


def test_a_cache_gets_one_key_per_shape():
    """The shape is what an exported graph depends on: sizes and settings of the network, but no names."""
    shape = made.spec(horizon=31)  # no other test exports it

    class Requested(Exception):
        """The key that was requested from the cache."""

    def request(key: str, export: object) -> bytes:
        raise Requested(key)

    def key(spec: ModelSpec) -> str:
        with pytest.raises(Requested) as requested:
            graph_template(spec)
        return str(requested.value)

    previous = use_export_cache(request)
    try:
        first = key(shape)
        for alike in ({"series": ("x", "y", "z")}, {"known_future": ("wind",)}, {"timezone": "UTC"}, {"members": 3}):
            assert key(replace(shape, **alike)) == first, alike
        others = {"series": ("x", "y")}, {"known_future": ()}, {"head": "softmax"}, {"hidden_size": 9}, {"layers": 2}
        assert len({first, *(key(replace(shape, **other)) for other in others)}) == 6
    finally:
        use_export_cache(previous)


def test_a_file_of_another_spec_gives_none(spec):
    model = to_onnx(network(spec, 1))
    for other in (replace(spec, series=("a", "b", "d")), replace(spec, levels=(0.1, 0.2, 0.5, 0.9))):
        assert from_onnx(model, other) is None
