"""Export to one ONNX file, and the proof that it computes what torch computes."""

from __future__ import annotations

import numpy as np
import onnx
import torch

from model.forecaster import SPEC_KEY, Forecaster
from model.spec import ModelSpec
from model.training.devices import to_tensors
from model.training.graph import ExportError, graph_template
from model.training.model_file import WEIGHTS_KEY, properties, read_model
from model.training.network import Ensemble, untrained_network
from model.training.weights import State, weight_map
from model.windows import Windows

_TOLERANCE = 1e-5
_STEEP = 1e-3  # of the softmax head's quantiles and edges, see `verify_export`


def to_onnx(network: Ensemble, like: bytes | None = None) -> bytes:
    """The network as ONNX bytes: weights inside, native recurrent operators, dynamic batch, spec in metadata.

    Args:
        like: a file that `from_onnx` reads for this spec. Its graph is taken, which spares the exporter's seconds.
    """
    model = onnx.ModelProto()
    model.CopyFrom(read_model(like) if like else graph_template(network.spec))
    written = properties(model)
    forms = weight_map(written[WEIGHTS_KEY], network.spec.members)
    state = network.state_dict()
    for initializer in model.graph.initializer:
        if form := forms.get(initializer.name):
            numbers = form.write(state).reshape(tuple(initializer.dims))
            initializer.CopyFrom(onnx.numpy_helper.from_array(numbers, initializer.name))
    onnx.helper.set_model_props(model, written | {SPEC_KEY: network.spec.to_json()})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def from_onnx(model: bytes, spec: ModelSpec) -> Ensemble | None:
    """The network of `spec` whose weights an ONNX file holds; None if it is of another shape, series or season."""
    proto = read_model(model)
    written = properties(proto)
    if written.get(SPEC_KEY) != spec.to_json() or WEIGHTS_KEY not in written:
        return None
    held = {initializer.name: initializer for initializer in proto.graph.initializer}
    network = untrained_network(spec)
    state: State = {name: entry for name, entry in network.state_dict().items() if not entry.numel()}  # is in no file
    try:
        for name, form in weight_map(written[WEIGHTS_KEY], spec.members).items():
            state |= form.read(onnx.numpy_helper.to_array(held[name]))
        network.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError):  # of an earlier version, whose layers had other names or sizes
        return None
    return network


def verified_network(model: bytes, spec: ModelSpec, samples: Windows) -> Ensemble | None:
    """The network of `from_onnx`; None also if its file computes something else than this code does with its weights,
    as one of an earlier version may.
    """
    network = from_onnx(model, spec)
    try:
        if network is not None:
            verify_export(network, model, samples, (64,))
    except ExportError:
        return None
    return network


def verify_export(
    network: Ensemble, model: bytes, samples: Windows, batches: tuple[int, ...] = (1, 2, 7, 64, 1000)
) -> float:
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
            expected = network.outputs(**to_tensors(part))
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
