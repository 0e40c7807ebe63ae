"""Model files as parsed ONNX protocol buffers, under the names that this version uses."""

from __future__ import annotations

import json

import onnx

#: Metadata key of the map from one member's initializers to the network's state, see `weights.weight_map`.
WEIGHTS_KEY = "gatecast.weights"

# Version 0.1.0 used other names. Its champions stay in the store for years, and warm starts begin from them.
_OLD_INITIALIZERS = {"stretch": "interval_scale"}
_OLD_MODULES = {
    "half_usual": "half_residual_quantiles",
    "identity": "series_embedding",
    "shift": "linear_skip",
}


def read_model(content: bytes) -> onnx.ModelProto:
    """Return the parsed file; names of earlier versions are replaced by those of this version.

    The replaced names are labels only: the graph computes the same numbers.
    """
    model = onnx.load_model_from_string(content)
    for initializer in model.graph.initializer:
        initializer.name = _OLD_INITIALIZERS.get(initializer.name, initializer.name)
    for node in model.graph.node:
        node.input[:] = [_OLD_INITIALIZERS.get(name, name) for name in node.input]
    for entry in model.metadata_props:
        if entry.key == WEIGHTS_KEY:
            entry.value = _rename_state_entries(entry.value)
    return model


def properties(model: onnx.ModelProto) -> dict[str, str]:
    """Return the file's metadata as a dictionary."""
    return {entry.key: entry.value for entry in model.metadata_props}


def _rename_state_entries(weights: str) -> str:
    sources = json.loads(weights)
    for source in sources.values():
        parts = [name.partition(".") for name in source["names"]]
        source["names"] = [_OLD_MODULES.get(module, module) + dot + rest for module, dot, rest in parts]
    return json.dumps(sources, sort_keys=True)
