"""The equations of docs/lstm.md, computed in NumPy from a model file, compared with ONNX Runtime and torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch

from model.forecaster import SPEC_KEY, Forecaster
from model.recurrent import LSTMTrace, RNNTrace
from model.training import introspection
from model.training.devices import to_tensors
from model.training.export import to_onnx
from model.training.introspection import UnsupportedGraphError, trace_recurrent_layers
from model.training.network import Ensemble
from model.windows import Windows
from tests.support import made
from tests.support.networks import train

pytestmark = pytest.mark.training

#: Inputs and outputs of a recurrent module of torch.
Call = tuple[tuple[Any, ...], Any]


class Fitted(NamedTuple):
    """A trained network of two members and two layers, its model file, and windows with a gap."""

    network: Ensemble
    windows: Windows
    content: bytes


@pytest.fixture(scope="module", params=["lstm", "rnn"])
def fitted(request: pytest.FixtureRequest) -> Fitted:
    network, samples, _ = train(made.spec(cell=request.param, members=2, layers=2, horizon=30))
    windows = samples[:5]
    windows.target[1, 10:20] = np.nan
    return Fitted(network, windows, to_onnx(network))


def traces(fitted: Fitted) -> dict[tuple[int, str, int], Any]:
    """Return the traces by member, subnetwork and number of the layer."""
    layers = trace_recurrent_layers(fitted.content, fitted.windows)
    return {(layer.member, layer.subnetwork, layer.number): layer.trace for layer in layers}


def torch_calls(network: Ensemble, windows: Windows) -> dict[tuple[int, str], Call]:
    """Return inputs and outputs of torch's recurrent modules by member and subnetwork."""
    calls: dict[tuple[int, str], Call] = {}

    def record(key: tuple[int, str]) -> Callable[..., None]:
        return lambda module, inputs, outputs: calls.__setitem__(key, (inputs, outputs))

    handles = [
        getattr(member, name).register_forward_hook(record((number, name)))
        for number, member in enumerate(network.networks)
        for name in ("encoder", "decoder")
    ]
    with torch.inference_mode():
        network(**to_tensors(windows))
    for handle in handles:
        handle.remove()
    return calls


def test_every_layer_agrees_with_torch(fitted: Fitted) -> None:
    layers = traces(fitted)
    assert len(layers) == 2 * 2 * 2
    for (member, name), (_, (output, state)) in torch_calls(fitted.network, fitted.windows).items():
        top = layers[member, name, 1]
        np.testing.assert_allclose(top.hidden_state, output.numpy().swapaxes(0, 1), atol=2e-6)
        if isinstance(top, LSTMTrace):
            cells = np.stack([layers[member, name, number].cell_state[-1] for number in range(2)])
            np.testing.assert_allclose(cells, state[1].numpy(), rtol=1e-5, atol=2e-6)


def test_every_layer_agrees_with_onnx_runtime(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "_TOLERANCE", 2e-6)  # of numbers in (-1, 1): float32 resolves 1.2e-7
    assert trace_recurrent_layers(fitted.content, fitted.windows)
    monkeypatch.setattr(introspection, "_TOLERANCE", 0.0)
    with pytest.raises(UnsupportedGraphError, match="differ by"):
        trace_recurrent_layers(fitted.content, fitted.windows)


def test_the_gates_are_those_of_torch(fitted: Fitted) -> None:
    """ONNX stacks the gates in the order i, o, f, c and torch in i, f, g, o. Each name must mean the same gate."""
    if fitted.network.spec.cell == "rnn":
        pytest.skip("a plain recurrent network has no gates")
    inputs, _ = torch_calls(fitted.network, fitted.windows)[1, "encoder"]
    encoder = fitted.network.networks[1].encoder
    with torch.inference_mode():
        summed = inputs[0][:, 0] @ encoder.weight_ih_l0.T + encoder.bias_ih_l0 + encoder.bias_hh_l0
        i, f, g, o = summed.chunk(4, dim=1)
    trace = traces(fitted)[1, "encoder", 0]
    for name, expected in {
        "input_gate": i.sigmoid(), "forget_gate": f.sigmoid(), "output_gate": o.sigmoid(), "candidate": g.tanh(),
        "cell_state": i.sigmoid() * g.tanh(),
    }.items():  # fmt: skip
        np.testing.assert_allclose(getattr(trace, name)[0], expected.numpy(), atol=2e-6, err_msg=name)


def test_the_cell_state_is_the_sum_of_its_contributions(fitted: Fitted) -> None:
    for layer in trace_recurrent_layers(fitted.content, fitted.windows):
        if isinstance(layer.trace, RNNTrace):
            pytest.skip("a plain recurrent network has no cell state")
        contributions = layer.trace.state_contributions()
        np.testing.assert_allclose(contributions.sum(axis=0), layer.trace.cell_state[-1], atol=1e-12)
        initial = np.abs(contributions[0]).max()
        assert (initial == 0) == (layer.subnetwork == "encoder"), "a decoder begins with the encoder's last state"


def test_the_decoder_continues_from_the_encoders_last_state(fitted: Fitted) -> None:
    """The horizon of 30 steps has two segments, so the decoder's second step forgets a part of the first."""
    layers = traces(fitted)
    for member in range(2):
        encoder, decoder = layers[member, "encoder", 0], layers[member, "decoder", 0]
        assert len(encoder.hidden_state) == 3 and len(decoder.hidden_state) == 2
        if fitted.network.spec.cell == "lstm":
            np.testing.assert_allclose(decoder.initial_cell, encoder.cell_state[-1], rtol=1e-5, atol=2e-6)


def test_tracing_does_not_change_the_file_that_serves(fitted: Fitted) -> None:
    before = Forecaster(fitted.content).quantiles(fitted.windows)
    trace_recurrent_layers(fitted.content, fitted.windows)
    assert (Forecaster(fitted.content).quantiles(fitted.windows) == before).all()


def test_a_file_with_another_graph_is_refused(fitted: Fitted) -> None:
    model = onnx.load_from_string(fitted.content)
    node = next(node for node in model.graph.node if node.op_type in ("LSTM", "RNN"))
    node.attribute.append(onnx.helper.make_attribute("clip", 0.5))
    with pytest.raises(UnsupportedGraphError, match="clip"):
        trace_recurrent_layers(model.SerializeToString(), fitted.windows)
    cell = fitted.network.spec.cell
    other = {"lstm": "rnn", "rnn": "lstm"}[cell]
    (spec,) = (entry for entry in model.metadata_props if entry.key == SPEC_KEY)
    spec.value = spec.value.replace(f'"{cell}"', f'"{other}"')
    with pytest.raises(UnsupportedGraphError, match="The model file has 0"):
        trace_recurrent_layers(model.SerializeToString(), fitted.windows)
