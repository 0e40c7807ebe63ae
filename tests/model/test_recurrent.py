"""The equations of docs/lstm.md, computed in NumPy from an exported file, against ONNX Runtime and torch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from model.forecaster import SPEC_KEY, Forecaster
from model.recurrent import LSTMTrace
from model.training import introspection as opened
from model.training.devices import to_tensors
from model.training.export import to_onnx
from model.training.introspection import UnsupportedGraphError, trace_recurrent_layers
from tests.support import made
from tests.support.networks import train


@pytest.fixture(scope="module", params=["lstm", "rnn"])
def fitted(request):
    """A network of two members and two layers, fitted, exported; and windows with gaps."""
    network, samples, _ = train(made.spec(cell=request.param, members=2, layers=2, horizon=30), updates=60)
    part = samples[:5]
    part.target[1, 10:20] = np.nan
    return network, part, to_onnx(network)


def by_torch(network, windows):
    """(member, part) -> what torch's recurrent module was given and what it gave."""
    seen = {}

    def keep(key):
        return lambda module, given, result: seen.__setitem__(key, (given, result))

    handles = [
        getattr(member, part).register_forward_hook(keep((number, part)))
        for number, member in enumerate(network.members)
        for part in ("encoder", "decoder")
    ]
    with torch.inference_mode():
        network(**to_tensors(windows))
    for handle in handles:
        handle.remove()
    return seen


def test_every_layer_comes_to_what_torch_computes(fitted):
    network, windows, model = fitted
    layers = {(at.member, at.subnetwork, at.number): at.trace for at in trace_recurrent_layers(model, windows)}
    assert len(layers) == 2 * 2 * 2
    for (member, part), (_, (output, state)) in by_torch(network, windows).items():
        top = layers[member, part, 1]
        np.testing.assert_allclose(top.hidden_state, output.numpy().swapaxes(0, 1), atol=2e-6)
        if isinstance(top, LSTMTrace):
            cells = np.stack([layers[member, part, number].cell_state[-1] for number in range(2)])
            np.testing.assert_allclose(cells, state[1].numpy(), rtol=1e-5, atol=2e-6)


def test_onnx_runtime_computes_the_same_to_its_last_digits(fitted, monkeypatch):
    _, windows, model = fitted
    monkeypatch.setattr(opened, "_TOLERANCE", 2e-6)  # of what lies in (-1, 1): float32 resolves 1.2e-7
    assert trace_recurrent_layers(model, windows)
    monkeypatch.setattr(opened, "_TOLERANCE", 0.0)
    with pytest.raises(UnsupportedGraphError, match="differ by"):
        trace_recurrent_layers(model, windows)


def test_the_gates_are_those_of_torchs_own_weights(fitted):
    """ONNX has them in the order i, o, f, c and torch in i, f, g, o: each name must mean the same gate."""
    network, windows, model = fitted
    if network.spec.cell == "rnn":
        pytest.skip("the plain network has no gates")
    given, _ = by_torch(network, windows)[1, "encoder"]
    encoder = network.members[1].encoder
    with torch.inference_mode():
        summed = given[0][:, 0] @ encoder.weight_ih_l0.T + encoder.bias_ih_l0 + encoder.bias_hh_l0
        i, f, g, o = summed.chunk(4, dim=1)
    trace = next(
        at.trace
        for at in trace_recurrent_layers(model, windows)
        if (at.member, at.subnetwork, at.number) == (1, "encoder", 0)
    )
    for name, expected in {
        "input_gate": i.sigmoid(), "forget_gate": f.sigmoid(), "output_gate": o.sigmoid(), "candidate": g.tanh(),
        "cell_state": i.sigmoid() * g.tanh(),
    }.items():  # fmt: skip
        np.testing.assert_allclose(getattr(trace, name)[0], expected.numpy(), atol=2e-6, err_msg=name)


def test_the_cell_state_is_the_sum_of_what_was_written(fitted):
    network, windows, model = fitted
    if network.spec.cell == "rnn":
        pytest.skip("the plain network has no cell state")
    for layer in trace_recurrent_layers(model, windows):
        np.testing.assert_allclose(
            layer.trace.state_contributions().sum(axis=0), layer.trace.cell_state[-1], atol=1e-12
        )
        started = np.abs(layer.trace.state_contributions()[0]).max()
        assert (started == 0) == (layer.subnetwork == "encoder"), "a decoder begins with what the encoder left"


def test_the_decoder_goes_on_from_the_encoders_last_state(fitted):
    """The horizon of 30 is two segments: the decoder's second step forgets part of what its first one kept."""
    network, windows, model = fitted
    layers = {(at.member, at.subnetwork, at.number): at.trace for at in trace_recurrent_layers(model, windows)}
    for member in range(2):
        encoder, decoder = layers[member, "encoder", 0], layers[member, "decoder", 0]
        assert len(encoder.hidden_state) == 3 and len(decoder.hidden_state) == 2
        if network.spec.cell == "lstm":
            np.testing.assert_allclose(decoder.initial_cell, encoder.cell_state[-1], rtol=1e-5, atol=2e-6)


def test_the_served_file_is_not_changed_by_being_opened(fitted):
    _, windows, model = fitted
    before = Forecaster(model).quantiles(windows)
    trace_recurrent_layers(model, windows)
    assert (Forecaster(model).quantiles(windows) == before).all()


def test_a_file_that_is_built_otherwise_is_refused(fitted):
    network, windows, model = fitted
    proto = onnx.load_from_string(model)
    node = next(node for node in proto.graph.node if node.op_type in ("LSTM", "RNN"))
    node.attribute.append(onnx.helper.make_attribute("clip", 0.5))
    with pytest.raises(UnsupportedGraphError, match="clip"):
        trace_recurrent_layers(proto.SerializeToString(), windows)
    other = {"lstm": "rnn", "rnn": "lstm"}[network.spec.cell]
    (props,) = (entry for entry in proto.metadata_props if entry.key == SPEC_KEY)
    props.value = props.value.replace(f'"{network.spec.cell}"', f'"{other}"')
    with pytest.raises(UnsupportedGraphError, match="The model file has 0"):
        trace_recurrent_layers(proto.SerializeToString(), windows)
