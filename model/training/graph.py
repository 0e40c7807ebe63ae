"""The graph of a network's ONNX file: torch's exporter writes one member, which then stands in it as often as there are
members, but once where no weights come in.

An export takes seconds for each network it is given, and members differ in nothing but numbers.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx
import torch

from model.calendar import CALENDAR
from model.forecaster import OUTPUTS
from model.spec import ModelSpec
from model.training.network import Ensemble, SegmentLSTM, untrained_network
from model.training.weights import INTERVAL_SCALE, InitializerSource, fill_distinct, match_initializers, to_json

#: Of the file's metadata: where the weights of each member lie, see `weights.weight_map`.
WEIGHTS_KEY = "gatecast.weights"
_OPSET = 20


class ExportError(RuntimeError):
    """The ONNX file does not compute what the network computes; it must not be used."""


def graph(spec: ModelSpec) -> onnx.ModelProto:
    """A model whose weights are any numbers. It is cached, and not to be changed.

    Raises:
        ExportError: the exporter has computed with weights, so that the graph fits no others.
    """
    return _graph(replace(spec, series=("",) * len(spec.series)))  # of the series, their number is all that counts


@functools.lru_cache(maxsize=4)
def _graph(shape: ModelSpec) -> onnx.ModelProto:
    one = replace(shape, members=1)
    member, weights = _member(one)
    network = untrained_network(one)
    fill_distinct(network)
    with torch.inference_mode():
        parts = network.networks[0].predict_outputs(**{name: value for name, (value, _) in _windows(shape).items()})
    told = OUTPUTS[shape.head]
    several = {
        f"told_{name}": (part.expand(shape.members, *part.shape).contiguous(), {1: _batch()})
        for name, part in zip(told, parts, strict=True)
    }
    joint = _exported(_Joined(network), several, told)
    (interval_scale,) = _known(match_initializers({"interval_scale": network.interval_scale}, joint))
    return _whole(member, weights, joint, interval_scale, shape.members)


@functools.lru_cache(maxsize=4)
def _member(shape: ModelSpec) -> tuple[onnx.ModelProto, dict[str, InitializerSource]]:
    """The graph of one member, and where its weights lie in it."""
    network = untrained_network(shape)
    fill_distinct(network)
    (member,) = network.networks
    model = _exported(_Told(member), _windows(shape), OUTPUTS[shape.head])
    return model, _known(match_initializers(member.state_dict(), model))


def _known(found: dict[str, InitializerSource] | None) -> dict[str, InitializerSource]:
    if found is None:
        raise ExportError("torch's exporter has computed with weights: its graph fits no others")
    return found


class _Told(torch.nn.Module):
    """What one member tells, as the first of several: (1, B, H, ...)."""

    def __init__(self, member: SegmentLSTM) -> None:
        super().__init__()
        self.member = member

    def forward(
        self, target: torch.Tensor, known_future: torch.Tensor, observed: torch.Tensor, calendar: torch.Tensor,
        series: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        return tuple(
            part[None] for part in self.member.predict_outputs(target, known_future, observed, calendar, series)
        )


class _Joined(torch.nn.Module):
    """All that the file gives, from what the members told."""

    def __init__(self, network: Ensemble) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, told_quantiles: torch.Tensor, told_edges: torch.Tensor | None = None,
        told_probabilities: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        return tuple(self.network.combine_members(told_quantiles, told_edges, told_probabilities).values())


@functools.cache
def _batch() -> Any:
    """The free size. Not made on import: its half second is for exports, which most nights do without."""
    return torch.export.Dim("batch")


_Inputs = Mapping[str, tuple[torch.Tensor, dict[int, Any] | None]]


def _windows(spec: ModelSpec) -> _Inputs:
    """Inputs of a network and which of their sizes are free. Two windows: one would freeze the batch at 1.

    Traced with one calendar for all, so that it is added to every window; one a window then is added as well.
    """
    length = spec.context + spec.horizon
    return {
        "target": (torch.ones(2, spec.context), {0: _batch()}),
        "known_future": (torch.ones(2, length, len(spec.known_future)), {0: _batch()}),
        "observed": (torch.ones(2, spec.context, len(spec.observed)), {0: _batch()}),
        "calendar": (torch.ones(1, length, len(CALENDAR)), None),
        "series": (torch.zeros(2, dtype=torch.int64), {0: _batch()}),
    }


def _exported(module: torch.nn.Module, inputs: _Inputs, outputs: Sequence[str]) -> onnx.ModelProto:
    """What torch's exporter makes of a module."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet_exporter():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(), (), kwargs={name: example for name, (example, _) in inputs.items()}, dynamo=True,
            opset_version=_OPSET, dynamic_shapes={name: free for name, (_, free) in inputs.items()},
            output_names=list(outputs), external_data=False, verbose=False,
            custom_translation_table={torch.ops.aten.rnn_tanh.input: _plain_rnn},
        )  # fmt: skip
    if program is None:
        raise ExportError("the exporter gave no model")
    model = program.model_proto
    for node in model.graph.input:
        if node.name == "calendar":
            node.type.tensor_type.shape.dim[0].dim_param = "calendars"
    del model.graph.value_info[:]  # shapes on the way, of a single calendar
    _forget_where_it_was_made(model)
    return model


def _whole(
    member: onnx.ModelProto,
    weights: dict[str, InitializerSource],
    joint: onnx.ModelProto,
    interval_scale: str,
    members: int,
) -> onnx.ModelProto:
    """One graph of both.

    Args:
        weights: initializers of `member` that are fitted.
        interval_scale: the one of `joint`.
    """
    fitted = set(weights)  # values that differ between members

    def differs(names: Iterable[str]) -> bool:
        return not fitted.isdisjoint(names)

    for node in member.graph.node:
        if differs(node.input):
            fitted.update(filter(None, node.output))
    told = [output.name for output in joint.graph.output]
    whole = onnx.ModelProto()
    whole.CopyFrom(member)
    for part in (whole.graph.node, whole.graph.initializer, whole.graph.output):
        del part[:]
    whole.graph.output.extend(joint.graph.output)
    _add(whole, member, {}, lambda names: not differs(names))
    for number in range(members):
        own = {name: f"{number}.{name}" for name in fitted}
        _add(whole, member, own, differs)
    for name in told:
        parts = [f"{number}.{name}" for number in range(members)]
        whole.graph.node.append(onnx.helper.make_node("Concat", parts, [f"told_{name}"], f"told_{name}", axis=0))
    named = {name: name for name in (*told, *(value.name for value in joint.graph.input))} | {
        interval_scale: INTERVAL_SCALE
    }
    inner = {name: f"joined.{name}" for node in joint.graph.node for name in (*node.input, *node.output) if name}
    _add(whole, joint, inner | named, lambda _: True)
    onnx.helper.set_model_props(whole, {WEIGHTS_KEY: to_json(weights)})
    return whole


def _add(
    whole: onnx.ModelProto, part: onnx.ModelProto, named: dict[str, str], wanted: Callable[[Iterable[str]], bool]
) -> None:
    """Copy the initializers of `part` that are wanted by their name, and the nodes that are by their inputs.

    Args:
        named: the new names of values that get another.
    """
    for initializer in part.graph.initializer:
        if wanted([initializer.name]):
            whole.graph.initializer.add().CopyFrom(initializer)
            whole.graph.initializer[-1].name = named.get(initializer.name, initializer.name)
    for node in part.graph.node:
        if wanted(node.input):
            copy = whole.graph.node.add()
            copy.CopyFrom(node)
            copy.input[:] = [named.get(name, name) for name in node.input]
            copy.output[:] = [named.get(name, name) for name in node.output]
            copy.name = next(name for name in copy.output if name)


def _plain_rnn(
    inputs: Any, initial: Any, weights: Sequence[Any], has_biases: bool, layers: int, dropout: float, training: bool,
    bidirectional: bool, batch_first: bool,
) -> tuple[Any, Any]:  # fmt: skip
    """`nn.RNN` as ONNX's own operator, as the exporter writes an LSTM; left alone it would unroll it step by step."""
    import onnxscript  # which takes seconds, and most nights need no export

    op: Any = onnxscript.opset20
    steps = op.Transpose(inputs, perm=[1, 0, 2]) if batch_first else inputs
    last = []
    for layer in range(layers):
        from_inputs, from_hidden, bias, other_bias = weights[4 * layer : 4 * layer + 4]
        states, state = op.RNN(
            steps, op.Unsqueeze(from_inputs, [0]), op.Unsqueeze(from_hidden, [0]),
            op.Unsqueeze(op.Concat(bias, other_bias, axis=0), [0]),
            initial_h=op.Slice(initial, [layer], [layer + 1], axes=[0]), hidden_size=from_hidden.shape[0],
            activations=["Tanh"],
        )  # fmt: skip
        steps = op.Squeeze(states, [1])
        last.append(state)
    return op.Transpose(steps, perm=[1, 0, 2]) if batch_first else steps, op.Concat(*last, axis=0)


def _forget_where_it_was_made(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they hold this machine's paths, and differ between two equal models."""
    graph = model.graph
    del model.metadata_props[:]
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


@contextlib.contextmanager
def _quiet_exporter():
    """The exporter logs its own progress; what matters of it is checked by `prove`."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
