"""Export to one ONNX file, and the proof that it computes what torch computes."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxscript
import torch

from model.calendar import CALENDAR
from model.forecaster import OUTPUTS, SPEC_KEY, Forecaster
from model.spec import ModelSpec
from model.training.fit import tensors
from model.training.heads import BINS
from model.training.network import Ensemble, SegmentLSTM, Statistics
from model.training.weights import Form, State, distinct, forms
from model.windows import Windows

_OPSET = 20
_TOLERANCE = 1e-5
_STEEP = 1e-3  # of the softmax head's quantiles and edges, see `prove`


class _Exported(torch.nn.Module):
    """All that the file gives, in one pass through the network."""

    def __init__(self, network: Ensemble) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, target: torch.Tensor, known_future: torch.Tensor, observed: torch.Tensor, calendar: torch.Tensor,
        series: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        return tuple(self.network.outputs(target, known_future, observed, calendar, series).values())


class ExportError(RuntimeError):
    """The ONNX file does not compute what the network computes; it must not be used."""


def to_onnx(network: Ensemble) -> bytes:
    """The network as ONNX bytes: weights inside, native recurrent operators, dynamic batch, spec in metadata."""
    shape = _shape(network.spec)
    graph, places = _template(shape)
    model = onnx.ModelProto()
    model.CopyFrom(graph if places else _exported(network))
    state = network.state_dict()
    for initializer in model.graph.initializer:
        if form := (places or {}).get(initializer.name):
            numbers = form.write(state).reshape(tuple(initializer.dims))
            initializer.CopyFrom(onnx.numpy_helper.from_array(numbers, initializer.name))
    onnx.helper.set_model_props(model, {SPEC_KEY: network.spec.to_json()})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def from_onnx(model: bytes, spec: ModelSpec) -> Ensemble | None:
    """The network of `spec` whose weights an ONNX file holds; None if it is of another shape, series or season."""
    proto = onnx.load_model_from_string(model)
    written = {entry.key: entry.value for entry in proto.metadata_props}
    if written.get(SPEC_KEY) != spec.to_json():
        return None
    _, places = _template(_shape(spec))
    if not places:
        return None
    held = {initializer.name: initializer for initializer in proto.graph.initializer}
    if not held.keys() >= places.keys():
        return None
    network = _blank(spec)
    state: State = {name: entry for name, entry in network.state_dict().items() if not entry.numel()}  # is in no file
    try:
        for name, form in places.items():
            state |= form.read(onnx.numpy_helper.to_array(held[name]))
        network.load_state_dict(state)
    except (ValueError, RuntimeError):  # a file of an earlier version, whose layers had other names or sizes
        return None
    return network


def _shape(spec: ModelSpec) -> ModelSpec:
    """All that shapes the graph: of the series, their number."""
    return replace(spec, series=("",) * len(spec.series))


@functools.lru_cache(maxsize=4)
def _template(shape: ModelSpec) -> tuple[onnx.ModelProto, dict[str, Form] | None]:
    """The graph of every network of a shape, and where their weights lie in it."""
    network = _blank(shape)
    distinct(network)
    graph = _exported(network)
    return graph, forms(network.state_dict(), graph)


def _blank(spec: ModelSpec) -> Ensemble:
    """A network of `spec` that nobody has fitted."""
    known, observed = len(spec.known_future), len(spec.observed)
    edges = torch.linspace(-1, 1, BINS + 1) if spec.head == "softmax" else torch.empty(0)

    def member() -> SegmentLSTM:
        statistics = Statistics(torch.zeros(known), torch.ones(known), torch.zeros(observed), torch.ones(observed))
        return SegmentLSTM(spec, statistics, edges.clone())

    return Ensemble(spec, [member() for _ in range(spec.members)]).eval()


def _exported(network: Ensemble) -> onnx.ModelProto:
    """What torch's exporter makes of a network. Two windows: one would freeze the batch at 1."""
    spec = network.spec
    length = spec.context + spec.horizon
    example = {
        "target": torch.ones(2, spec.context),
        "known_future": torch.ones(2, length, len(spec.known_future)),
        "observed": torch.ones(2, spec.context, len(spec.observed)),
        "calendar": torch.ones(1, length, len(CALENDAR)),
        "series": torch.zeros(2, dtype=torch.int64),
    }
    # Traced with one calendar for all, so that it is added to every window; one a window then is added as well.
    shapes = {name: {0: torch.export.Dim("batch")} if name != "calendar" else None for name in example}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet_exporter():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Exported(network).eval(), (), kwargs=example, dynamo=True, opset_version=_OPSET, dynamic_shapes=shapes,
            output_names=list(OUTPUTS[spec.head]), external_data=False, verbose=False,
            custom_translation_table={torch.ops.aten.rnn_tanh.input: _plain_rnn},
        )  # fmt: skip
    if program is None:
        raise ExportError("the exporter gave no model")
    model = program.model_proto
    (calendar,) = (node for node in model.graph.input if node.name == "calendar")
    calendar.type.tensor_type.shape.dim[0].dim_param = "calendars"
    del model.graph.value_info[:]  # shapes on the way, of a single calendar
    _forget_where_it_was_made(model)
    return model


def _plain_rnn(
    inputs: Any, initial: Any, weights: Sequence[Any], has_biases: bool, layers: int, dropout: float, training: bool,
    bidirectional: bool, batch_first: bool,
) -> tuple[Any, Any]:  # fmt: skip
    """`nn.RNN` as ONNX's own operator, as the exporter writes an LSTM; left alone it would unroll it step by step."""
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


def prove(network: Ensemble, model: bytes, samples: Windows, batches: tuple[int, ...] = (1, 2, 7, 64, 1000)) -> float:
    """Largest relative error of ONNX Runtime against torch on real windows, at several batch sizes; of a softmax head
    that of its probabilities.

    Also poisons one window with NaN: it must not change any other, and must come out finite, since a missing
    value is masked inside the graph.

    Raises:
        ExportError: the error exceeds 1e-5 of a window's scale, or NaN spreads. Of a softmax head that holds for the
            probabilities; a quantile, and the edges that are stretched around the median, may be off by 1e-3, since
            a quantile in a bin of hardly any probability passes through it with the last bit of a sum.
    """
    forecaster = Forecaster(model)
    worst = 0.0
    for size in batches:
        part = samples[np.arange(size) % len(samples)]
        with torch.inference_mode():
            expected = network.outputs(**tensors(part))
        found = forecaster.outputs(part, list(expected))
        for value, (name, tensor) in zip(found, expected.items(), strict=True):
            wanted = tensor.numpy().astype(np.float64)
            unit = np.abs(wanted).max(axis=tuple(range(1, wanted.ndim)), keepdims=True) + 1e-9
            error = float((np.abs(value - wanted) / unit).max())
            if "probabilities" not in expected or name == "probabilities" or not error <= _STEEP:
                worst = max(worst, error)
    if not worst <= _TOLERANCE:
        raise ExportError(f"ONNX Runtime and torch differ by {worst:.1e} (relative); at most {_TOLERANCE:.0e}")
    part = samples[np.arange(2) % len(samples)]
    clean = forecaster.quantiles(part)
    for name in ("target", "known_future", "observed"):
        poisoned = {**part.inputs(), name: getattr(part, name).copy()}
        poisoned[name][0, ::5] = np.nan
        result = forecaster.quantiles(Windows(**poisoned))
        if not (np.isfinite(result).all() and (result[1] == clean[1]).all()):
            raise ExportError(f"a missing value in {name} is not masked inside the graph")
    return worst


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
