"""The ONNX graph of a model shape: one exported member, repeated for each member, and the combination of members.

Members differ only in their weights, and an export takes seconds, so only one member is exported. The part of its graph
that depends on no weights appears once, whatever the number of members. The weights are placeholders. `export.to_onnx`
replaces them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import Any

import onnx
import torch

import model.linear_expert
import model.training.features
import model.training.heads
import model.training.linear_features
import model.training.network
import model.training.standardise
from model.calendar import CALENDAR
from model.forecaster import OUTPUTS
from model.linear_expert import LINEAR_OUTPUTS, LINEAR_TABLES, TABLE_OUTPUTS
from model.spec import ModelSpec
from model.training.export_cache import export_once
from model.training.linear_features import LinearExpert
from model.training.model_file import WEIGHTS_KEY
from model.training.network import Ensemble, SegmentLSTM, linear_outputs, untrained_network
from model.training.weights import INTERVAL_SCALE, InitializerSource, fill_distinct, match_initializers, to_json

_OPSET = 20
# An exported graph is determined by the model's shape, these packages and the source code of these modules.
_PACKAGES = ("torch", "onnx", "onnxscript")
_MODULES = (
    model.linear_expert, model.training.features, model.training.heads, model.training.linear_features,
    model.training.network, model.training.standardise, sys.modules[__name__],
)  # fmt: skip


class ExportError(RuntimeError):
    """The exported ONNX graph does not compute what the network computes, so it must not be used."""


def graph_template(spec: ModelSpec) -> onnx.ModelProto:
    """Return a model file of this shape with placeholders as weights. It is cached: copy it before changing it.

    Raises:
        ExportError: The exporter folded weights into constants, so the graph fits no other weights.
    """
    return _template(replace(spec, series=("",) * len(spec.series)))  # only the number of series has an effect


@functools.lru_cache(maxsize=4)
def _template(shape: ModelSpec) -> onnx.ModelProto:
    single = replace(shape, members=1)
    member, weights = _member_template(single)
    network = untrained_network(single)
    fill_distinct(network)
    with torch.inference_mode():
        inputs = {name: value for name, (value, _) in _member_inputs(shape).items()}
        outputs = network.networks[0].predict_outputs(**inputs)
    names = OUTPUTS[shape.head]
    stacked: dict[str, tuple[torch.Tensor, dict[int, Any] | None]] = {
        _stacked(name): (output.expand(shape.members, *output.shape).contiguous(), {1: _batch()})
        for name, output in zip(names, outputs, strict=True)
    }
    fields = ("head", "levels", "lower", "upper", "horizon", "members", "linear")
    shape_of_graph = {name: getattr(shape, name) for name in fields}
    if network.linear is not None:
        stacked |= {
            "linear_quantiles": (torch.ones(2, shape.horizon, len(shape.levels)), {0: _batch()}),
            "series": (torch.zeros(2, dtype=torch.int64), {0: _batch()}),
            LINEAR_TABLES["share"]: (network.linear.share, None),
        }
        shape_of_graph["series"] = len(shape.series)
    key = _key("combination", shape_of_graph)
    combination = _export_once(key, lambda: _export(_Combination(network), stacked, names))
    (interval_scale,) = _all_matched(match_initializers({INTERVAL_SCALE: network.interval_scale}, combination))
    assembled = _assemble(member, weights, combination, interval_scale, shape.members)
    if network.linear is not None:
        _add_linear_expert(assembled, shape, network.linear)
    return assembled


def _add_linear_expert(assembled: onnx.ModelProto, shape: ModelSpec, expert: LinearExpert) -> None:
    """Put the graph of the linear expert before the others.

    Its tables are inputs of the file with default values: ONNX takes an initializer of the same name as the default.
    """
    inputs: dict[str, tuple[torch.Tensor, dict[int, Any] | None]] = {**_example_inputs(shape)}
    for name in ("coefficients", "scaling", "residuals"):
        inputs[LINEAR_TABLES[name]] = (getattr(expert, name), None)
    fields = ("frequency", "horizon", "context", "season", "segment", "levels")
    counts = {name: len(getattr(shape, name)) for name in ("known_future", "observed", "series")}
    key = _key("linear", {name: getattr(shape, name) for name in fields} | counts)
    outputs = ("linear_design", "linear_forecast", "linear_quantiles", "linear_window")
    exported = _export_once(key, lambda: _export(_Linear(expert), inputs, outputs))
    kept = {*outputs, *inputs}
    names = {name for node in exported.graph.node for name in (*node.input, *node.output) if name and name not in kept}
    later = [onnx.NodeProto.FromString(node.SerializeToString()) for node in assembled.graph.node]
    del assembled.graph.node[:]
    _copy_nodes(assembled, exported, {name: f"linear.{name}" for name in names}, lambda _: True)
    assembled.graph.node.extend(later)
    for name in LINEAR_TABLES:
        table = onnx.numpy_helper.from_array(getattr(expert, name).numpy(), LINEAR_TABLES[name])
        assembled.graph.initializer.append(table)
        assembled.graph.input.append(
            onnx.helper.make_tensor_value_info(LINEAR_TABLES[name], onnx.TensorProto.FLOAT, list(table.dims))
        )
        returned = onnx.helper.make_node("Identity", [LINEAR_TABLES[name]], [TABLE_OUTPUTS[name]], TABLE_OUTPUTS[name])
        assembled.graph.node.append(returned)
        assembled.graph.output.append(
            onnx.helper.make_tensor_value_info(TABLE_OUTPUTS[name], onnx.TensorProto.FLOAT, list(table.dims))
        )
    remaining = [value for value in assembled.graph.input if value.name != "linear_forecast"]
    del assembled.graph.input[:]
    assembled.graph.input.extend(remaining)
    assembled.graph.output.extend(output for output in exported.graph.output if output.name in LINEAR_OUTPUTS)


@functools.lru_cache(maxsize=4)
def _member_template(shape: ModelSpec) -> tuple[onnx.ModelProto, dict[str, InitializerSource]]:
    """Return the graph of a single member, and the source of each initializer that holds weights."""
    network = untrained_network(shape)
    fill_distinct(network)
    (member,) = network.networks
    fields = (
        "horizon", "context", "season", "segment", "levels", "head", "cell", "hidden_size", "layers",
    )  # fmt: skip
    counts = {name: len(getattr(shape, name)) for name in ("known_future", "observed", "series")}
    if shape.linear:
        counts["linear"] = 1
    key = _key("member", {name: getattr(shape, name) for name in fields} | counts)
    exported = _export_once(key, lambda: _export(_Member(member), _member_inputs(shape), OUTPUTS[shape.head]))
    return exported, _all_matched(match_initializers(member.state_dict(), exported))


def _all_matched(sources: dict[str, InitializerSource] | None) -> dict[str, InitializerSource]:
    if sources is None:
        raise ExportError(
            "torch's exporter folded weights of the network into constants, so its graph fits no other weights. "
            "Install the versions of torch and onnxscript that constraints.txt names."
        )
    return sources


def _export_once(key: str, export: Callable[[], onnx.ModelProto]) -> onnx.ModelProto:
    return onnx.load_model_from_string(export_once(key, lambda: export().SerializeToString()))


def _key(part: str, shape: Mapping[str, Any]) -> str:
    """Return the key of an exported graph: a hash of everything that it depends on."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    code = [inspect.getsource(module) for module in _MODULES]
    determined_by = json.dumps([part, shape, versions, len(CALENDAR), code], sort_keys=True)
    return f"{part}-{hashlib.sha256(determined_by.encode()).hexdigest()[:16]}"


class _Member(torch.nn.Module):
    """One member as the exporter gets it: its outputs with a leading dimension of members, (1, B, H, ...)."""

    def __init__(self, member: SegmentLSTM) -> None:
        super().__init__()
        self.member = member

    def forward(
        self, target: torch.Tensor, known_future: torch.Tensor, observed: torch.Tensor, calendar: torch.Tensor,
        series: torch.Tensor, linear_forecast: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        outputs = self.member.predict_outputs(target, known_future, observed, calendar, series, linear_forecast)
        return tuple(output[None] for output in outputs)


class _Linear(torch.nn.Module):
    """The linear expert as the exporter gets it, with its tables as inputs."""

    def __init__(self, expert: LinearExpert) -> None:
        super().__init__()
        self.expert = [expert]  # in a list, so that the tables are not part of the module

    def forward(
        self, target: torch.Tensor, known_future: torch.Tensor, observed: torch.Tensor, calendar: torch.Tensor,
        series: torch.Tensor, linear_coefficients: torch.Tensor, linear_scaling: torch.Tensor,
        linear_residuals: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        return linear_outputs(
            self.expert[0],
            target,
            known_future,
            observed,
            calendar,
            series,
            linear_coefficients,
            linear_scaling,
            linear_residuals,
        )


class _Combination(torch.nn.Module):
    """The combination of members as the exporter gets it: from their stacked outputs to the file's outputs."""

    def __init__(self, network: Ensemble) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, member_quantiles: torch.Tensor, member_edges: torch.Tensor | None = None,
        member_probabilities: torch.Tensor | None = None, linear_quantiles: torch.Tensor | None = None,
        series: torch.Tensor | None = None, linear_share: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        share = None if linear_share is None or series is None else linear_share[series][..., None]
        outputs = self.network.combine_members(
            member_quantiles, member_edges, member_probabilities, linear_quantiles, share
        )
        return tuple(outputs.values())


def _stacked(output: str) -> str:
    """Return the name of the value that holds an output of all members, an input of `_Combination`."""
    return f"member_{output}"


@functools.cache
def _batch() -> Any:
    """Return the free batch dimension. Creating it takes half a second, so importing this module does not."""
    return torch.export.Dim("batch")


# From the name of an input to an example of it and its free dimensions.
_Inputs = Mapping[str, tuple[torch.Tensor, dict[int, Any] | None]]


def _example_inputs(spec: ModelSpec) -> _Inputs:
    """Return example inputs of a network, two windows: with a single one the exporter would fix the batch size at 1.

    The example has one calendar for all windows. The graph then broadcasts it, which also serves one per window.
    """
    length = spec.context + spec.horizon
    return {
        "target": (torch.ones(2, spec.context), {0: _batch()}),
        "known_future": (torch.ones(2, length, len(spec.known_future)), {0: _batch()}),
        "observed": (torch.ones(2, spec.context, len(spec.observed)), {0: _batch()}),
        "calendar": (torch.ones(1, length, len(CALENDAR)), None),
        "series": (torch.zeros(2, dtype=torch.int64), {0: _batch()}),
    }


def _member_inputs(spec: ModelSpec) -> _Inputs:
    """Return example inputs of a member: those of a network, and the linear expert's forecast if there is one."""
    inputs = _example_inputs(spec)
    if not spec.linear:
        return inputs
    return {**inputs, "linear_forecast": (torch.ones(2, spec.horizon), {0: _batch()})}


def _export(module: torch.nn.Module, inputs: _Inputs, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the graph that torch's exporter writes of a module."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet_exporter():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(), (), kwargs={name: example for name, (example, _) in inputs.items()}, dynamo=True,
            opset_version=_OPSET, dynamic_shapes={name: free for name, (_, free) in inputs.items()},
            output_names=list(outputs), external_data=False, verbose=False,
            custom_translation_table={torch.ops.aten.rnn_tanh.input: _rnn_operator},
        )  # fmt: skip
    if program is None:
        raise ExportError(
            "torch's exporter returned no model. Install the version of torch that constraints.txt names."
        )
    exported = program.model_proto
    for node in exported.graph.input:
        if node.name == "calendar":
            node.type.tensor_type.shape.dim[0].dim_param = "calendars"
    del exported.graph.value_info[:]  # inferred from the example, whose single calendar is not the only case
    _remove_provenance(exported)
    return exported


def _assemble(
    member: onnx.ModelProto, weights: Mapping[str, InitializerSource], combination: onnx.ModelProto,
    interval_scale: str, members: int,
) -> onnx.ModelProto:  # fmt: skip
    """Join the graph of a member, once per member, and the graph that combines members.

    Args:
        member: Graph of one member.
        weights: Names of its initializers that hold weights.
        combination: Graph from the members' stacked outputs to the file's outputs.
        interval_scale: Name of its initializer that holds the interval scale.
        members: Number of members.
    """
    # Values that depend on weights differ between members. All others are computed once.
    own_values = set(weights)

    def is_own(names: Iterable[str]) -> bool:
        return not own_values.isdisjoint(names)

    for node in member.graph.node:
        if is_own(node.input):
            own_values.update(filter(None, node.output))
    outputs = [output.name for output in combination.graph.output]
    assembled = onnx.ModelProto()
    assembled.CopyFrom(member)
    for part in (assembled.graph.node, assembled.graph.initializer, assembled.graph.output):
        del part[:]
    assembled.graph.output.extend(combination.graph.output)
    _copy_nodes(assembled, member, {}, lambda names: not is_own(names))
    for number in range(members):
        _copy_nodes(assembled, member, {name: f"{number}.{name}" for name in own_values}, is_own)
    for name in outputs:
        parts = [f"{number}.{name}" for number in range(members)]
        stack = onnx.helper.make_node("Concat", parts, [_stacked(name)], _stacked(name), axis=0)
        assembled.graph.node.append(stack)
    names = {name for node in combination.graph.node for name in (*node.input, *node.output) if name}
    new_names = {name: f"combination.{name}" for name in names}
    new_names |= {name: name for name in (*outputs, *(value.name for value in combination.graph.input))}
    new_names[interval_scale] = INTERVAL_SCALE
    _copy_nodes(assembled, combination, new_names, lambda _: True)
    onnx.helper.set_model_props(assembled, {WEIGHTS_KEY: to_json(weights)})
    return assembled


def _copy_nodes(
    assembled: onnx.ModelProto, part: onnx.ModelProto, new_names: Mapping[str, str],
    is_copied: Callable[[Iterable[str]], bool],
) -> None:  # fmt: skip
    """Copy initializers and nodes of `part` into `assembled`.

    Args:
        assembled: Model that receives them.
        part: Model that holds them.
        new_names: From the name of a value in `part` to its name in `assembled`, where the two differ.
        is_copied: Whether an initializer of this name, or a node with these inputs, is copied.
    """
    for initializer in part.graph.initializer:
        if is_copied([initializer.name]):
            assembled.graph.initializer.add().CopyFrom(initializer)
            assembled.graph.initializer[-1].name = new_names.get(initializer.name, initializer.name)
    for node in part.graph.node:
        if is_copied(node.input):
            copy = assembled.graph.node.add()
            copy.CopyFrom(node)
            copy.input[:] = [new_names.get(name, name) for name in node.input]
            copy.output[:] = [new_names.get(name, name) for name in node.output]
            copy.name = next(name for name in copy.output if name)


def _rnn_operator(
    inputs: Any, initial: Any, weights: Sequence[Any], has_biases: bool, layers: int, dropout: float, training: bool,
    bidirectional: bool, batch_first: bool,
) -> tuple[Any, Any]:  # fmt: skip
    """Translate `nn.RNN` to ONNX's operator RNN. By default the exporter unrolls it step by step, unlike an LSTM."""
    import onnxscript  # here, because importing it takes seconds and most trainings export nothing

    op: Any = onnxscript.opset20
    steps = op.Transpose(inputs, perm=[1, 0, 2]) if batch_first else inputs
    last_states = []
    for layer in range(layers):
        from_inputs, from_hidden, input_bias, hidden_bias = weights[4 * layer : 4 * layer + 4]
        states, last_state = op.RNN(
            steps, op.Unsqueeze(from_inputs, [0]), op.Unsqueeze(from_hidden, [0]),
            op.Unsqueeze(op.Concat(input_bias, hidden_bias, axis=0), [0]),
            initial_h=op.Slice(initial, [layer], [layer + 1], axes=[0]), hidden_size=from_hidden.shape[0],
            activations=["Tanh"],
        )  # fmt: skip
        steps = op.Squeeze(states, [1])
        last_states.append(last_state)
    return op.Transpose(steps, perm=[1, 0, 2]) if batch_first else steps, op.Concat(*last_states, axis=0)


def _remove_provenance(exported: onnx.ModelProto) -> None:
    """Remove the exporter's notes: they hold paths of this machine, and differ between two equal models."""
    graph = exported.graph
    del exported.metadata_props[:]
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's log lines. `export.verify_export` checks the result."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
