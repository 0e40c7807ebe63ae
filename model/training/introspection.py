"""A model opened: what goes on in its recurrent layers, computed from the ONNX file that serves and nothing else.

The inputs of the recurrent operators, weights among them, become outputs of the graph, ONNX Runtime gives them, and the
cells' equations (model/recurrent.py) go on from there in NumPy. They must come to what the operator itself gives.
"""

from __future__ import annotations

import numpy as np
import onnx

from model.forecaster import Forecaster
from model.recurrent import LSTMTrace, RecurrentLayer, RNNTrace, Weights, lstm, rnn
from model.spec import ModelSpec
from model.training.model_file import read_model
from model.windows import Windows

_TOLERANCE = 1e-5  # of a hidden state, which lies in (-1, 1): what float32 leaves
_CELLS = {"lstm": "LSTM", "rnn": "RNN"}
# Places among the operators' inputs.
_INPUTS, _FROM_INPUTS, _FROM_HIDDEN, _BIAS, _LENGTHS, _INITIAL_HIDDEN, _INITIAL_CELL, _PEEPHOLES = range(8)
_NEEDED = (_INPUTS, _FROM_INPUTS, _FROM_HIDDEN, _BIAS, _INITIAL_HIDDEN, _INITIAL_CELL)
_PLAIN = {"direction": b"forward", "input_forget": 0, "layout": 0, "activations": [b"Tanh"]}


class UnsupportedGraphError(RuntimeError):
    """The file is not built as these equations take it to be; nothing can be said of its gates."""


def trace_recurrent_layers(model: bytes, windows: Windows) -> tuple[RecurrentLayer, ...]:
    """What every recurrent layer of `model` does with `windows`; members in order, encoder first.

    Raises:
        OpenError: the graph has other recurrent operators than its spec says, or the equations do not come to what
            ONNX Runtime computes.
    """
    proto = read_model(model)
    spec = Forecaster(model).spec
    nodes = _recurrent(proto.graph, spec)
    wanted = list(dict.fromkeys(name for node, _ in nodes for name in _shown(node)))
    there = {output.name for output in proto.graph.output}
    proto.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in wanted if name not in there
    )
    values = dict(zip(wanted, Forecaster(proto.SerializeToString()).outputs(windows, wanted), strict=True))
    count = {"encoder": 0, "decoder": 0}
    layers = []
    for node, part in nodes:
        member, number = divmod(count[part], spec.layers)
        count[part] += 1
        layers.append(RecurrentLayer(member, part, number, _trace(node, values)))
    return tuple(sorted(layers, key=lambda at: (at.member, at.subnetwork != "encoder", at.number)))


def _recurrent(graph: onnx.GraphProto, spec: ModelSpec) -> list[tuple[onnx.NodeProto, str]]:
    """The recurrent nodes and their parts, in the graph's order: member by member, from the first layer up."""
    follows: set[str] = set()  # values that come from a recurrent node
    found = []
    for node in graph.node:
        if node.op_type == _CELLS[spec.cell]:
            # Only the decoder begins with a state that another has left.
            found.append((node, "decoder" if _input(node, _INITIAL_HIDDEN) in follows else "encoder"))
        if node.op_type in _CELLS.values() or follows & set(node.input):
            follows |= set(node.output) - {""}
    each = spec.members * spec.layers
    if [part for _, part in found].count("decoder") != each or len(found) != 2 * each:
        raise UnsupportedGraphError(
            f"the file has {len(found)} {_CELLS[spec.cell]} nodes; {spec.members} members of {spec.layers} layers, "
            f"each with an encoder and a decoder, would be {2 * each}"
        )
    return found


def _shown(node: onnx.NodeProto) -> list[str]:
    """The values to be asked for, of a node that the equations cover; a node without a name for its output gets one."""
    given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    odd = {name: value for name, value in given.items() if name != "hidden_size" and _PLAIN.get(name) != value}
    if odd or _input(node, _LENGTHS) or _input(node, _PEEPHOLES):
        raise UnsupportedGraphError(
            f"node {node.name} is no plain {node.op_type}: {odd or 'it has sequence lengths or peepholes'}"
        )
    if not node.output[0]:
        node.output[0] = f"{node.name}_output"
    names = [_input(node, place) for place in _NEEDED]
    return [name for name in (*names, node.output[0]) if name]


def _trace(node: onnx.NodeProto, values: dict[str, np.ndarray]) -> LSTMTrace | RNNTrace:
    def value(place: int) -> np.ndarray | None:
        return values.get(_input(node, place))

    weights = Weights.from_onnx(values[node.input[_FROM_INPUTS]], values[node.input[_FROM_HIDDEN]], value(_BIAS))
    inputs = values[node.input[_INPUTS]].astype(np.float64)

    def initial(place: int) -> np.ndarray:
        given = value(place)
        return np.zeros((inputs.shape[1], weights.recurrent.shape[1])) if given is None else given[0].astype(np.float64)

    trace: LSTMTrace | RNNTrace
    if node.op_type == "LSTM":
        trace = lstm(weights, inputs, initial(_INITIAL_HIDDEN), initial(_INITIAL_CELL))
    else:
        trace = rnn(weights, inputs, initial(_INITIAL_HIDDEN))
    apart = float(np.abs(trace.hidden_state - values[node.output[0]][:, 0]).max())
    if not apart <= _TOLERANCE:
        raise UnsupportedGraphError(f"the equations and ONNX Runtime differ by {apart:.1e} at node {node.name}")
    return trace


def _input(node: onnx.NodeProto, place: int) -> str:
    """The name of an input, '' where the node has none at that place."""
    return node.input[place] if place < len(node.input) else ""
