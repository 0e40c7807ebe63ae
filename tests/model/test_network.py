"""The network and its export, run by ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch

from model.forecaster import Forecaster
from model.training.devices import to_tensors
from model.training.export import to_onnx, verify_export
from model.training.graph import ExportError
from model.training.network import CovariateStatistics, Ensemble, SegmentLSTM
from model.training.samples import TooLittleHistory, build_sampler
from model.windows import Windows
from tests.support import made
from tests.support.networks import train


class Exported(NamedTuple):
    """A network after a few updates, its model file, and random windows."""

    network: Ensemble
    samples: Windows
    content: bytes


pytestmark = pytest.mark.training


@pytest.fixture(scope="module", params=["quantile", "softmax"])
def exported(request: pytest.FixtureRequest) -> Exported:
    network, samples, _ = train(made.spec(head=request.param, members=2 if request.param == "quantile" else 1))
    return Exported(network, samples, to_onnx(network))


def assert_independent_of_batch(forecaster: Forecaster, samples: Windows) -> None:
    """Assert that the forecast of a window has the same bits in batches of 1, 7 and all windows."""
    whole = forecaster.quantiles(samples)
    for size in (1, 7):
        parts = [forecaster.quantiles(samples[i : i + size]) for i in range(0, len(samples), size)]
        assert (np.concatenate(parts) == whole).all()


def test_parity_with_torch_at_every_batch_size(exported: Exported) -> None:
    network, samples, content = exported
    assert verify_export(network, content, samples, (1, 2, 7, 64, 1000)) <= 1e-5


def test_the_lstm_is_a_native_operator(exported: Exported) -> None:
    network, _, content = exported
    graph = onnx.load_from_string(content).graph
    operators = Counter(node.op_type for node in graph.node)
    assert operators["LSTM"] == 2 * len(network.members)  # encoder and decoder
    assert operators["IsNaN"] == 3  # target, known_future, observed: masked once for all members
    assert "Loop" not in operators
    assert not any(t.data_location == onnx.TensorProto.EXTERNAL for t in graph.initializer)


def test_quantiles_never_cross_and_stay_inside_the_bounds(exported: Exported) -> None:
    _, samples, content = exported
    forecaster = Forecaster(content)
    extreme = replace(samples, target=samples.target * np.float32(-1e3))
    for windows in (samples, extreme):
        quantiles = forecaster.quantiles(windows)
        assert np.isfinite(quantiles).all()
        assert (np.diff(quantiles, axis=2) >= 0).all()
        assert (quantiles >= 0).all()


def test_one_nan_changes_only_its_own_series(exported: Exported) -> None:
    """ONNX Runtime's LSTM turns NaN into numbers, so the graph must mask it before."""
    network, samples, content = exported
    forecaster = Forecaster(content)
    clean = forecaster.quantiles(samples)
    target = samples.target.copy()
    target[5, 40] = np.nan
    with_gap = replace(samples, target=target)
    quantiles = forecaster.quantiles(with_gap)
    changed = (quantiles != clean).any(axis=(1, 2))
    assert changed[5]
    assert changed.sum() == 1
    with torch.inference_mode():
        expected = network(**to_tensors(with_gap))
    np.testing.assert_allclose(quantiles[5], expected[5].numpy(), rtol=1e-4)


def test_a_forecast_without_visible_values_is_finite(exported: Exported) -> None:
    _, samples, content = exported
    invisible: dict[str, Any] = {
        k: np.full_like(v, np.nan) if v.dtype == np.float32 and k != "calendar" else v
        for k, v in samples.inputs().items()
    }
    assert np.isfinite(Forecaster(content).quantiles(Windows(**invisible))).all()


def test_the_result_is_the_same_for_any_chunking_and_threads(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, samples, content = exported
    whole = Forecaster(content, threads=1).quantiles(samples)
    for chunk, threads in ((1, 1), (7, 3), (100, 2), (10_000, 1)):
        monkeypatch.setattr("model.forecaster.CHUNK", chunk)
        assert (Forecaster(content, threads=threads).quantiles(samples) == whole).all(), (chunk, threads)
    assert_independent_of_batch(Forecaster(content), samples)


def test_a_network_of_the_default_size_is_independent_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide matrices use other kernels than narrow ones. The last chunk is not full."""
    spec = made.spec(hidden_size=128)
    panel = made.panel(spec)
    samples = (
        build_sampler(spec, panel, panel.first + 1200, 0, panel.first + 1200)
        .draw(np.random.default_rng(0), 300)
        .windows
    )
    none = torch.zeros(1)
    torch.manual_seed(1)
    network = SegmentLSTM(spec, CovariateStatistics(none, none + 1, none, none + 1), torch.linspace(-5, 5, 65))
    content = to_onnx(Ensemble(spec, [network]))
    whole = Forecaster(content).quantiles(samples)
    for chunk, threads in ((1, 2), (5, 1), (64, 3), (256, 2)):
        monkeypatch.setattr("model.forecaster.CHUNK", chunk)
        assert (Forecaster(content, threads=threads).quantiles(samples) == whole).all(), (chunk, threads)


def test_one_calendar_serves_all_windows(exported: Exported) -> None:
    """The bits are those with one calendar per window, so a forecast does not depend on its batch."""
    _, samples, content = exported
    one = samples.calendar[:1]
    shared = replace(samples, calendar=one)
    repeated = replace(samples, calendar=np.repeat(one, len(samples), axis=0))
    forecaster = Forecaster(content)
    whole = forecaster.quantiles(shared)
    assert (whole == forecaster.quantiles(repeated)).all()
    assert (whole != forecaster.quantiles(samples)).any()
    assert_independent_of_batch(forecaster, shared)


def test_a_file_that_requires_one_calendar_per_window_receives_it(exported: Exported) -> None:
    """Older champions cannot broadcast a single calendar."""
    _, samples, content = exported
    shared = replace(samples, calendar=samples.calendar[:1])
    expected = Forecaster(content).quantiles(shared)
    proto = onnx.load_from_string(content)
    graph, helper = proto.graph, onnx.helper
    dimensions = {node.name: node.type.tensor_type.shape.dim for node in graph.input}
    dimensions["calendar"][0].dim_param = dimensions["target"][0].dim_param
    (node,) = (node for node in graph.node if "quantiles" in node.output)
    node.output[list(node.output).index("quantiles")] = "free"
    graph.node.extend(
        [
            helper.make_node("Shape", ["target"], ["many"], start=0, end=1),
            helper.make_node("Shape", ["calendar"], ["few"], start=0, end=1),
            helper.make_node("Div", ["few", "many"], ["share"]),  # 0 where there are fewer calendars than windows
            helper.make_node("Cast", ["share"], ["all"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", ["free", "all"], ["quantiles"]),
        ]
    )
    assert (Forecaster(proto.SerializeToString()).quantiles(shared) == expected).all()


@pytest.mark.parametrize("head", ["quantile", "softmax"])
def test_a_network_learns(head: str) -> None:
    """Only noise of 0.2 is unpredictable, so the best median's error is at most 1/sqrt(2) of the seasonal naive's."""
    spec = made.spec(head=head, hidden_size=32)
    network, _, validation = train(spec, updates=500)
    with torch.inference_mode():
        quantiles = network(**to_tensors(validation.windows)).numpy()
    size = np.array([1, 30, 1000])[validation.windows.series - 1][:, None]
    naive = validation.windows.target[:, -24:]
    error = (np.abs(quantiles[:, :, spec.levels.index(0.5)] - validation.actual) / size).mean()
    assert error < 0.7 * (np.abs(naive - validation.actual) / size).mean()
    below = (validation.actual[..., None] < quantiles).mean(axis=(0, 1))
    np.testing.assert_allclose(below, spec.levels, atol=0.1)


def test_another_networks_file_is_refused(exported: Exported) -> None:
    network, samples, _ = exported
    with torch.no_grad():
        changed = deepcopy(network)
        content = to_onnx(changed)
        next(changed.networks[0].step_in.parameters()).add_(0.1)
    with pytest.raises(ExportError, match="differ by"):
        verify_export(changed, content, samples)


def test_a_seed_gives_the_same_weights() -> None:
    first, second = (train(made.spec())[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_the_plain_rnn_is_a_native_operator() -> None:
    network, samples, _ = train(made.spec(cell="rnn", layers=2, horizon=30))
    content = to_onnx(network)
    assert verify_export(network, content, samples) <= 1e-5
    operators = Counter(node.op_type for node in onnx.load_from_string(content).graph.node)
    assert operators["RNN"] == 4 and "LSTM" not in operators  # two layers each of encoder and decoder
    assert_independent_of_batch(Forecaster(content), samples)


def test_shapes_that_do_not_divide_and_seasons_longer_than_the_context() -> None:
    spec = made.spec(context=70, horizon=7, season=100, known_future=(), observed=())
    network, samples, _ = train(spec)
    content = to_onnx(network)
    assert verify_export(network, content, samples) <= 1e-5
    assert_independent_of_batch(Forecaster(content), samples)


def test_too_little_history() -> None:
    spec = made.spec()
    panel = made.panel(spec, columns=110)
    with pytest.raises(TooLittleHistory):
        build_sampler(spec, panel, panel.first + 80, 0, 0)


def test_not_a_model() -> None:
    with pytest.raises(ValueError, match="not a Gatecast model"):
        Forecaster(b"nonsense")


def test_a_missing_provider_is_reported(exported: Exported, caplog: pytest.LogCaptureFixture) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("ONNX Runtime has CUDA here")
    forecaster = Forecaster(exported.content, ("cuda", "cpu"))
    assert forecaster.provider == "CPUExecutionProvider"
    assert "CUDAExecutionProvider" in caplog.text
    assert forecaster.provider_warning is not None and forecaster.provider_warning in caplog.text
    assert Forecaster(exported.content, ("cpu", "cuda"), strict=True).provider_warning is None
    with pytest.raises(ValueError, match="first provider is CUDAExecutionProvider"):
        Forecaster(exported.content, ("cuda", "cpu"), strict=True)


def test_cuda_parity(exported: Exported) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("ONNX Runtime has no CUDA here")
    on_cpu, on_gpu = (Forecaster(exported.content, (p,)).quantiles(exported.samples) for p in ("cpu", "cuda"))
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4)


def test_the_file_holds_nothing_of_the_machine_that_wrote_it(exported: Exported) -> None:
    content = exported.content
    assert str(Path(__file__).parent.parent.parent).encode() not in content
    assert b"stack_trace" not in content
