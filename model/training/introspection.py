"""Gates and states of the recurrent layers of a model file, computed from the file that serves.

The inputs of the recurrent operators, weights among them, become outputs of the graph, and ONNX Runtime returns them.
The equations of model/recurrent.py then compute gates and states in NumPy. The result must agree with the operator's
own output.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from model.forecaster import Forecaster
from model.recurrent import LSTMTrace, RecurrentLayer, RNNTrace, Weights, lstm, rnn
from model.spec import ModelSpec
from model.training.model_file import read_model
from model.windows import Windows

_TOLERANCE = 1e-5  # of a hidden state in (-1, 1), for the precision of float32
_OPERATORS = {"lstm": "LSTM", "rnn": "RNN"}
# Positions of the operators' inputs.
_INPUTS, _FROM_INPUTS, _FROM_HIDDEN, _BIAS, _LENGTHS, _INITIAL_HIDDEN, _INITIAL_CELL, _PEEPHOLES = range(8)
_NEEDED = (_INPUTS, _FROM_INPUTS, _FROM_HIDDEN, _BIAS, _INITIAL_HIDDEN, _INITIAL_CELL)
_SUPPORTED = {"direction": b"forward", "input_forget": 0, "layout": 0, "activations": [b"Tanh"]}


class UnsupportedGraphError(RuntimeError):
    """The equations do not describe the graph of the file, so its gates are unknown."""


def trace_recurrent_layers(content: bytes, windows: Windows) -> tuple[RecurrentLayer, ...]:
    """Return gates and states of every recurrent layer for some windows, by member, the encoder first.

    Args:
        content: Model file.
        windows: B windows.

    Raises:
        UnsupportedGraphError: The graph has other recurrent operators than its spec, or the equations and ONNX Runtime
            disagree.
    """
    model = read_model(content)
    spec = Forecaster(content).spec
    nodes = _recurrent_nodes(model.graph, spec)
    names = list(dict.fromkeys(name for node, _ in nodes for name in _traced_values(node)))
    outputs = {output.name for output in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in outputs
    )
    values = dict(zip(names, Forecaster(model.SerializeToString()).outputs(windows, names), strict=True))
    count = {"encoder": 0, "decoder": 0}
    layers = []
    for node, part in nodes:
        member, number = divmod(count[part], spec.layers)
        count[part] += 1
        layers.append(RecurrentLayer(member, part, number, _trace(node, values)))
    return tuple(sorted(layers, key=lambda layer: (layer.member, layer.subnetwork != "encoder", layer.number)))


def _recurrent_nodes(graph: onnx.GraphProto, spec: ModelSpec) -> list[tuple[onnx.NodeProto, str]]:
    """Return the recurrent nodes, each with its part, in the graph's order: by member, from the first layer up."""
    operator = _OPERATORS[spec.cell]
    downstream: set[str] = set()  # values that depend on a recurrent node
    nodes = []
    for node in graph.node:
        if node.op_type == operator:
            # Only the decoder's initial state is the state of another node.
            nodes.append((node, "decoder" if _input(node, _INITIAL_HIDDEN) in downstream else "encoder"))
        if node.op_type in _OPERATORS.values() or downstream & set(node.input):
            downstream |= set(node.output) - {""}
    expected = spec.members * spec.layers
    if [part for _, part in nodes].count("decoder") != expected or len(nodes) != 2 * expected:
        raise UnsupportedGraphError(
            f"The model file has {len(nodes)} {operator} nodes. {spec.members} members of {spec.layers} layers, each "
            f"with an encoder and a decoder, need {2 * expected}."
        )
    return nodes


def _traced_values(node: onnx.NodeProto) -> list[str]:
    """Return the names of a recurrent node's inputs and output; an output without a name gets one.

    Raises:
        UnsupportedGraphError: The node has attributes or inputs that the equations do not cover.
    """
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    unsupported = {
        name: value for name, value in attributes.items() if name != "hidden_size" and _SUPPORTED.get(name) != value
    }
    if unsupported or _input(node, _LENGTHS) or _input(node, _PEEPHOLES):
        raise UnsupportedGraphError(
            f"Node {node.name} of the model file is no plain {node.op_type}: it has "
            f"{unsupported or 'sequence lengths or peepholes'}."
        )
    if not node.output[0]:
        node.output[0] = f"{node.name}_output"
    names = [_input(node, position) for position in _NEEDED]
    return [name for name in (*names, node.output[0]) if name]


def _trace(node: onnx.NodeProto, values: Mapping[str, np.ndarray]) -> LSTMTrace | RNNTrace:
    """Return gates and states of one node from the values of its inputs.

    Raises:
        UnsupportedGraphError: They disagree with the node's output.
    """
    weights = Weights.from_onnx(
        values[node.input[_FROM_INPUTS]], values[node.input[_FROM_HIDDEN]], values.get(_input(node, _BIAS))
    )
    inputs = values[node.input[_INPUTS]].astype(np.float64)

    def initial(position: int) -> np.ndarray:
        state = values.get(_input(node, position))
        return np.zeros((inputs.shape[1], weights.recurrent.shape[1])) if state is None else state[0].astype(np.float64)

    trace: LSTMTrace | RNNTrace
    if node.op_type == "LSTM":
        trace = lstm(weights, inputs, initial(_INITIAL_HIDDEN), initial(_INITIAL_CELL))
    else:
        trace = rnn(weights, inputs, initial(_INITIAL_HIDDEN))
    difference = float(np.abs(trace.hidden_state - values[node.output[0]][:, 0]).max())
    if not difference <= _TOLERANCE:
        raise UnsupportedGraphError(
            f"The equations and ONNX Runtime differ by {difference:.1e} at node {node.name}. "
            f"The limit is {_TOLERANCE:.0e}."
        )
    return trace


def _input(node: onnx.NodeProto, position: int) -> str:
    """Return the name of an input, '' if the node has none at this position."""
    return node.input[position] if position < len(node.input) else ""
