"""Weights of a network inside its ONNX file: from each initializer to the entries of the network's state, and back.

A retrained network needs new numbers in the same graph, so the file records where each weight is. The exporter keeps
some weights as they are and transposes matrices for some products. It also concatenates the biases of an LSTM and
reorders its gates. torch has the order input, forget, cell, output; ONNX has input, output, forget, cell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import onnx
import torch
from torch import Tensor

State = dict[str, Tensor]
#: Name of the interval scale in the network's state and in the file.
INTERVAL_SCALE = "interval_scale"

_ONNX_GATES = (0, 3, 1, 2)  # torch's gates in ONNX's order


@dataclass(frozen=True)
class InitializerSource:
    """Entries of the state that an initializer is made from: one, or the two biases of a recurrent layer.

    Attributes:
        names: Names of the entries.
        shape: Shape of each entry.
        transposed: Whether the initializer is the transposed matrix.
        gates: torch's gates in the order of the initializer's blocks of rows; empty outside recurrent layers.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    transposed: bool = False
    gates: tuple[int, ...] = ()

    def write(self, state: State) -> np.ndarray:
        """Return the initializer's numbers, in the initializer's order."""
        arrays = [state[name].detach().numpy() for name in self.names]
        if self.gates:
            blocks = [np.split(array, len(self.gates)) for array in arrays]
            return np.concatenate([split[gate] for split in blocks for gate in self.gates])
        array: np.ndarray = np.ascontiguousarray(arrays[0].T) if self.transposed else arrays[0]
        return array

    def read(self, array: np.ndarray) -> State:
        """Return the entries of the state that an initializer holds."""
        if self.gates:
            blocks = np.split(array.reshape(-1, *self.shape[1:]), len(self.names) * len(self.gates))
            order = np.argsort(self.gates)
            entries = [
                np.concatenate([blocks[first + position] for position in order])
                for first in range(0, len(blocks), len(order))
            ]
        else:
            entries = [array.T.copy() if self.transposed else array]
        return {
            name: torch.from_numpy(entry.reshape(self.shape).copy())
            for name, entry in zip(self.names, entries, strict=True)
        }


def fill_distinct(module: torch.nn.Module) -> None:
    """Fill the weights with numbers that differ from each other, so that each initializer can be identified."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for entry in module.state_dict().values():
            if entry.is_floating_point():
                entry.copy_(torch.rand(entry.shape, generator=random) + 0.5)


def match_initializers(state: State, model: onnx.ModelProto) -> dict[str, InitializerSource] | None:
    """Return the source of each initializer that holds weights. All other initializers are constants.

    Args:
        state: State of the exported network, filled by `fill_distinct`.
        model: Exported graph.

    Returns:
        Sources by initializer. None if an entry of the state is in no initializer: the exporter folded it into a
        constant, so the graph fits no other weights.
    """
    candidates = {source.write(state).tobytes(): source for source in _possible_sources(state)}
    sources = {
        initializer.name: source
        for initializer in model.graph.initializer
        if (source := candidates.get(onnx.numpy_helper.to_array(initializer).tobytes())) is not None
    }
    matched = {name for source in sources.values() for name in source.names}
    return sources if matched >= {name for name, entry in state.items() if entry.numel()} else None


def to_json(sources: Mapping[str, InitializerSource]) -> str:
    """Return the sources of one member's initializers as text for the file's metadata, see `weight_map`."""
    return json.dumps({name: asdict(source) for name, source in sources.items()}, sort_keys=True)


def weight_map(text: str, members: int) -> dict[str, InitializerSource]:
    """Return the sources of all initializers of a file that hold weights.

    They are those of each member and the interval scale. The linear expert's tables are not among them, because the
    file has them under names of their own.

    Args:
        text: Result of `to_json`, with names as in the graph of a single member.
        members: Number of members.
    """
    sources = {INTERVAL_SCALE: InitializerSource((INTERVAL_SCALE,), (1,))}
    for name, fields in json.loads(text).items():
        for number in range(members):
            names = tuple(f"members.{number}.{entry}" for entry in fields["names"])
            sources[f"{number}.{name}"] = InitializerSource(
                names, tuple(fields["shape"]), fields["transposed"], tuple(fields["gates"])
            )
    return sources


def _possible_sources(state: State) -> Iterator[InitializerSource]:
    """Yield every way in which the exporter may store an entry. The plain one comes last, and wins if two are equal."""
    for name, entry in state.items():
        shape = tuple(entry.shape)
        if entry.ndim == 2:
            yield InitializerSource((name,), shape, transposed=True)
        layer, _, kind = name.rpartition(".")
        if kind.startswith(("weight_ih_l", "weight_hh_l", "bias_ih_l")):
            hidden_size = state[f"{layer}.weight_hh_l{kind.rpartition('_l')[2]}"].shape[1]
            gates = _ONNX_GATES if len(entry) == len(_ONNX_GATES) * hidden_size else (0,)
            names = (name, name.replace("bias_ih", "bias_hh")) if kind.startswith("bias") else (name,)
            yield InitializerSource(names, shape, gates=gates)
        yield InitializerSource((name,), shape)
