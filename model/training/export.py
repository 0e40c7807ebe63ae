"""Export of a network to one ONNX file, and the check that the file computes what torch computes."""

from __future__ import annotations

import numpy as np
import onnx
import torch

from model.forecaster import SPEC_KEY, Forecaster, Tables
from model.linear_expert import LINEAR_TABLES
from model.spec import ModelSpec
from model.training.devices import to_tensors
from model.training.graph import ExportError, graph_template
from model.training.model_file import WEIGHTS_KEY, properties, read_model
from model.training.network import MARKET_STATISTICS, Ensemble, untrained_network
from model.training.weights import InitializerSource, State, weight_map
from model.windows import Windows

_TOLERANCE = 1e-5
# Tolerance for quantiles and edges of a softmax head, see `verify_export`.
_SOFTMAX_TOLERANCE = 1e-3


def to_onnx(network: Ensemble, like: bytes | None = None) -> bytes:
    """Return the network as an ONNX file, with weights inside, native recurrent operators and the spec as metadata.

    Args:
        network: Network to write.
        like: Model file that `from_onnx` can read for this spec. Its graph is used, which saves the seconds of an
            export.
    """
    model = onnx.ModelProto()
    model.CopyFrom(read_model(like) if like else graph_template(network.spec))
    metadata = properties(model)
    sources = weight_map(metadata[WEIGHTS_KEY], network.spec.members)
    state = network.state_dict()
    if network.linear is not None:
        sources |= _table_sources(network)
    for initializer in model.graph.initializer:
        if source := sources.get(initializer.name):
            values = source.write(state).reshape(tuple(initializer.dims))
            initializer.CopyFrom(onnx.numpy_helper.from_array(values, initializer.name))
    onnx.helper.set_model_props(model, metadata | {SPEC_KEY: network.spec.to_json()})
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def from_onnx(content: bytes, spec: ModelSpec) -> Ensemble | None:
    """Return the network that a model file holds, or None if the file was made for another spec."""
    model = read_model(content)
    metadata = properties(model)
    if metadata.get(SPEC_KEY) != spec.to_json() or WEIGHTS_KEY not in metadata:
        return None
    initializers = {initializer.name: initializer for initializer in model.graph.initializer}
    network = untrained_network(spec, [name for name in MARKET_STATISTICS if name not in metadata[WEIGHTS_KEY]])
    state: State = {name: entry for name, entry in network.state_dict().items() if not entry.numel()}  # not in files
    try:
        sources = weight_map(metadata[WEIGHTS_KEY], spec.members)
        for name, source in (sources | _table_sources(network)).items():
            state |= source.read(onnx.numpy_helper.to_array(initializers[name]))
        network.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError):  # a file of an earlier version, whose layers differ
        return None
    return network


def with_tables(content: bytes, tables: Tables) -> bytes:
    """Return an ONNX file whose linear expert has other tables as defaults."""
    model = onnx.load_model_from_string(content)
    for initializer in model.graph.initializer:
        if initializer.name in tables:
            initializer.CopyFrom(onnx.numpy_helper.from_array(tables[initializer.name], initializer.name))
    written: bytes = model.SerializeToString(deterministic=True)
    return written


def _table_sources(network: Ensemble) -> dict[str, InitializerSource]:
    """Return the sources of the initializers that hold the linear expert's tables."""
    if network.linear is None:
        return {}
    return {
        name: InitializerSource((f"linear.{table}",), tuple(getattr(network.linear, table).shape))
        for table, name in LINEAR_TABLES.items()
    }


def verified_network(content: bytes, spec: ModelSpec, samples: Windows) -> Ensemble | None:
    """Return the network of `from_onnx`, or None also if this version computes something else with its weights.

    Args:
        content: Model file.
        spec: Spec that the network must have.
        samples: Windows on which the file and the network are compared.
    """
    network = from_onnx(content, spec)
    try:
        if network is not None:
            verify_export(network, content, samples, (64,))
    except ExportError:
        return None
    return network


def verify_export(
    network: Ensemble, content: bytes, samples: Windows, batches: tuple[int, ...] = (1, 2, 7, 64, 1000)
) -> float:
    """Compare ONNX Runtime with torch at several batch sizes, and check that missing values are masked in the graph.

    An error is relative to the largest output of its window. With a softmax head, the probabilities must agree within
    1e-5, but quantiles and edges only within 1e-3: where a bin has hardly any probability, the last bit of a sum moves
    a quantile through it.

    A NaN in one window must not change another window's forecast, and its own forecast must be finite.

    Args:
        network: Network in torch.
        content: Its model file.
        samples: Real windows.
        batches: Batch sizes.

    Returns:
        The largest relative error: of the probabilities with a softmax head, else of the quantiles.

    Raises:
        ExportError: An error exceeds its tolerance, or a NaN spreads.
    """
    forecaster = Forecaster(content)
    worst = 0.0
    for size in batches:
        batch = samples[np.arange(size) % len(samples)]
        with torch.inference_mode():
            expected = network.outputs(**to_tensors(batch))
        computed = forecaster.outputs(batch, list(expected))
        for values, (name, tensor) in zip(computed, expected.items(), strict=True):
            error = _relative_error(values, tensor.numpy().astype(np.float64))
            if "probabilities" not in expected or name == "probabilities" or not error <= _SOFTMAX_TOLERANCE:
                worst = max(worst, error)
    if not worst <= _TOLERANCE:
        raise ExportError(f"ONNX Runtime and torch differ by {worst:.1e} (relative). The limit is {_TOLERANCE:.0e}.")
    _verify_masks(forecaster, samples[np.arange(2) % len(samples)])
    return worst


def _relative_error(values: np.ndarray, expected: np.ndarray) -> float:
    largest = np.abs(expected).max(axis=tuple(range(1, expected.ndim)), keepdims=True) + 1e-9
    return float((np.abs(values - expected) / largest).max())


def _verify_masks(forecaster: Forecaster, pair: Windows) -> None:
    """Raise ExportError if a NaN in the first of two windows changes the second, or makes a forecast not finite."""
    clean = forecaster.quantiles(pair)
    for name in ("target", "known_future", "observed"):
        poisoned = {**pair.inputs(), name: getattr(pair, name).copy()}
        poisoned[name][0, ::5] = np.nan
        quantiles = forecaster.quantiles(Windows(**poisoned))
        if not (np.isfinite(quantiles).all() and (quantiles[1] == clean[1]).all()):
            raise ExportError(f"A missing value of {name} is not masked in the exported graph.")
