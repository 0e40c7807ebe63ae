"""Export to one ONNX file, and the proof that it computes what torch computes."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxscript
import torch

from model.forecaster import OUTPUTS, SPEC_KEY, Forecaster
from model.training.fit import tensors
from model.training.network import Ensemble
from model.windows import Windows

_OPSET = 20
_TOLERANCE = 1e-5


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


def to_onnx(network: Ensemble, example: Windows) -> bytes:
    """The network as ONNX bytes: weights inside, native recurrent operators, dynamic batch, spec in metadata.

    Args:
        example: at least two windows with a calendar each (one would freeze the batch at 1).
    """
    if len(example) < 2 or len(example.calendar) != len(example):
        raise ValueError("the export needs at least two windows, each with its own calendar")
    shapes = {name: {0: torch.export.Dim("batch")} for name in example.inputs()}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet_exporter():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Exported(network).eval(), (), kwargs=tensors(example), dynamo=True, opset_version=_OPSET,
            dynamic_shapes=shapes, output_names=list(OUTPUTS[network.spec.head]), external_data=False, verbose=False,
            custom_translation_table={torch.ops.aten.rnn_tanh.input: _plain_rnn},
        )  # fmt: skip
    if program is None:
        raise ExportError("the exporter gave no model")
    model = program.model_proto
    _forget_where_it_was_made(model)
    onnx.helper.set_model_props(model, {SPEC_KEY: network.spec.to_json()})
    onnx.checker.check_model(model)
    return model.SerializeToString()


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
    """Largest relative error of ONNX Runtime against torch on real windows, at several batch sizes.

    Also poisons one window with NaN: it must not change any other, and must come out finite, since a missing
    value is masked inside the graph.

    Raises:
        ExportError: the error exceeds 1e-5 of a window's scale, or NaN spreads.
    """
    forecaster = Forecaster(model)
    worst = 0.0
    for size in batches:
        part = samples[np.arange(size) % len(samples)]
        with torch.inference_mode():
            expected = network.outputs(**tensors(part))
        found = forecaster.outputs(part, list(expected))
        for value, tensor in zip(found, expected.values(), strict=True):
            wanted = tensor.numpy().astype(np.float64)
            unit = np.abs(wanted).max(axis=tuple(range(1, wanted.ndim)), keepdims=True) + 1e-9
            worst = max(worst, float((np.abs(value - wanted) / unit).max()))
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
