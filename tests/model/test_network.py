"""The network, its heads and its export, on real ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from model.forecaster import Forecaster
from model.training.devices import to_tensors
from model.training.export import ExportError, to_onnx, verify_export
from model.training.network import CovariateStatistics, Ensemble, SegmentLSTM
from model.training.samples import TooLittleHistory, build_sampler
from model.windows import Windows
from tests.support import made
from tests.support.networks import train


@pytest.fixture(scope="module", params=["quantile", "softmax"])
def exported(request):
    spec = made.spec(head=request.param, members=2 if request.param == "quantile" else 1)
    network, samples, validation = train(spec)
    return network, samples, validation, to_onnx(network)


def alone(forecaster, samples):
    """Assert that a window's forecast is bitwise the same alone, among few and among many."""
    whole = forecaster.quantiles(samples)
    for size in (1, 7):
        parts = [forecaster.quantiles(samples[i : i + size]) for i in range(0, len(samples), size)]
        assert (np.concatenate(parts) == whole).all()


def test_parity_with_torch_at_every_batch_size(exported):
    network, samples, _, model = exported
    assert verify_export(network, model, samples, (1, 2, 7, 64, 1000)) <= 1e-5


def test_the_lstm_is_one_native_operator(exported):
    network, _, _, model = exported
    graph = onnx.load_from_string(model).graph
    operators = Counter(node.op_type for node in graph.node)
    assert operators["LSTM"] == 2 * len(network.members)  # encoder and decoder
    assert operators["IsNaN"] == 3  # target, covariates known and observed: masked once for all members
    assert "Loop" not in operators
    assert not any(t.data_location == onnx.TensorProto.EXTERNAL for t in graph.initializer)


def test_quantiles_never_cross_and_keep_the_bounds(exported):
    _, samples, _, model = exported
    forecaster = Forecaster(model)
    wild = Windows(**{**samples.inputs(), "target": samples.target * np.float32(-1e3)})
    for windows in (samples, wild):
        quantiles = forecaster.quantiles(windows)
        assert np.isfinite(quantiles).all()
        assert (np.diff(quantiles, axis=2) >= 0).all()
        assert (quantiles >= 0).all()


def test_one_nan_changes_only_its_own_series(exported):
    """ONNX Runtime's LSTM hides a NaN that reaches it, so a mask in the graph must catch it first."""
    network, samples, _, model = exported
    forecaster = Forecaster(model)
    clean = forecaster.quantiles(samples)
    target = samples.target.copy()
    target[5, 40] = np.nan
    holed = Windows(**{**samples.inputs(), "target": target})
    quantiles = forecaster.quantiles(holed)
    changed = (quantiles != clean).any(axis=(1, 2))
    assert changed[5]
    assert changed.sum() == 1
    with torch.inference_mode():
        expected = network(**{k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in holed.inputs().items()})
    np.testing.assert_allclose(quantiles[5], expected[5].numpy(), rtol=1e-4)


def test_nothing_visible_is_still_finite(exported):
    _, samples, _, model = exported
    blind = {
        k: np.full_like(v, np.nan) if v.dtype == np.float32 and k != "calendar" else v
        for k, v in samples.inputs().items()
    }
    assert np.isfinite(Forecaster(model).quantiles(Windows(**blind))).all()


def test_the_result_is_the_same_for_any_chunking_and_threads(exported, monkeypatch):
    _, samples, _, model = exported
    whole = Forecaster(model, threads=1).quantiles(samples)
    for chunk, threads in ((1, 1), (7, 3), (100, 2), (10_000, 1)):
        monkeypatch.setattr("model.forecaster.CHUNK", chunk)
        assert (Forecaster(model, threads=threads).quantiles(samples) == whole).all(), (chunk, threads)
    alone(Forecaster(model), samples)


@pytest.mark.parametrize("head", ["quantile", "softmax"])
def test_it_is_the_same_at_the_size_of_a_real_network(head, monkeypatch):
    """Wide matrices go through other kernels than narrow ones; the last chunk is not a full one."""
    spec = made.spec(head=head, hidden_size=128)
    panel = made.panel(spec)
    samples = (
        build_sampler(spec, panel, panel.first + 1200, 0, panel.first + 1200)
        .draw(np.random.default_rng(0), 300)
        .windows
    )
    none = torch.zeros(1)
    torch.manual_seed(1)
    network = SegmentLSTM(spec, CovariateStatistics(none, none + 1, none, none + 1), torch.linspace(-5, 5, 65))
    model = to_onnx(Ensemble(spec, [network]))
    whole = Forecaster(model).quantiles(samples)
    for chunk, threads in ((1, 2), (5, 1), (64, 3), (256, 2)):
        monkeypatch.setattr("model.forecaster.CHUNK", chunk)
        assert (Forecaster(model, threads=threads).quantiles(samples) == whole).all(), (chunk, threads)


def test_one_calendar_serves_all_windows(exported):
    """The same bits as a calendar for each of them: a series' forecast does not depend on who shares its night."""
    _, samples, _, model = exported
    one = samples.calendar[:1]
    night = Windows(**{**samples.inputs(), "calendar": one})
    each = Windows(**{**samples.inputs(), "calendar": np.repeat(one, len(samples), axis=0)})
    forecaster = Forecaster(model)
    whole = forecaster.quantiles(night)
    assert (whole == forecaster.quantiles(each)).all()
    assert (whole != forecaster.quantiles(samples)).any()
    alone(forecaster, night)


def test_a_file_that_wants_a_calendar_for_each_window_is_given_it(exported):
    """Champions from before one calendar served all windows go on serving."""
    _, samples, _, model = exported
    night = Windows(**{**samples.inputs(), "calendar": samples.calendar[:1]})
    expected = Forecaster(model).quantiles(night)
    proto = onnx.load_from_string(model)
    graph, helper = proto.graph, onnx.helper
    given = {node.name: node.type.tensor_type.shape.dim for node in graph.input}
    given["calendar"][0].dim_param = given["target"][0].dim_param
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
    assert (Forecaster(proto.SerializeToString()).quantiles(night) == expected).all()


@pytest.mark.parametrize("head", ["quantile", "softmax"])
def test_it_learns(head):
    """Noise of 0.2 is all that cannot be known, so the best median's error is 1/sqrt(2) of the naive's, or less."""
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


def test_another_networks_file_is_refused(exported):
    network, samples, _, _ = exported
    with torch.no_grad():
        changed = type(network)(network.spec, list(network.members)).eval()
        model = to_onnx(changed)
        next(changed.members[0].step_in.parameters()).add_(0.1)
    with pytest.raises(ExportError, match="differ by"):
        verify_export(changed, model, samples)


def test_a_seed_gives_the_same_weights():
    first, second = (train(made.spec())[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_the_plain_rnn_is_an_rnn():
    network, samples, _ = train(made.spec(cell="rnn", layers=2, horizon=30))
    model = to_onnx(network)
    assert verify_export(network, model, samples) <= 1e-5
    operators = Counter(node.op_type for node in onnx.load_from_string(model).graph.node)
    assert operators["RNN"] == 4 and "LSTM" not in operators  # two layers each of encoder and decoder
    alone(Forecaster(model), samples)


def test_shapes_that_do_not_divide_and_seasons_longer_than_the_context():
    for changes in ({"context": 70, "horizon": 7}, {"season": 100, "known_future": (), "observed": ()}):
        spec = made.spec(**changes)
        network, samples, _ = train(spec)
        model = to_onnx(network)
        assert verify_export(network, model, samples) <= 1e-5
        alone(Forecaster(model), samples)


def test_too_little_history():
    spec = made.spec()
    panel = made.panel(spec, columns=110)
    with pytest.raises(TooLittleHistory):
        build_sampler(spec, panel, panel.first + 80, 0, 0)


def test_not_a_model():
    with pytest.raises(ValueError, match="not a model"):
        Forecaster(b"nonsense")


def test_a_provider_that_is_not_there_is_said(exported, caplog):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has CUDA, so nothing falls back")
    forecaster = Forecaster(exported[3], ("cuda", "cpu"))
    assert forecaster.provider == "CPUExecutionProvider"
    assert "CUDAExecutionProvider" in caplog.text
    assert forecaster.provider_warning in caplog.text
    assert Forecaster(exported[3], ("cpu", "cuda"), strict=True).provider_warning is None
    with pytest.raises(ValueError, match="asked for CUDAExecutionProvider first"):
        Forecaster(exported[3], ("cuda", "cpu"), strict=True)


def test_cuda_parity(exported):
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("no CUDA provider in this ONNX Runtime, or no GPU")
    on_cpu, on_gpu = (Forecaster(exported[3], (p,)).quantiles(exported[1]) for p in ("cpu", "cuda"))
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4)


def test_the_file_says_nothing_of_the_machine_it_was_made_on(exported):
    model = exported[3]
    assert str(Path(__file__).parent.parent.parent).encode() not in model
    assert b"stack_trace" not in model
