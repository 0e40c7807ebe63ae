"""The weights of a network inside its ONNX file: where the exporter put each of them, to write and to read them there.

A retrain needs new numbers only, and the file says where they go. The exporter keeps some weights as they are,
transposes others for a product, and joins and reorders the biases of an LSTM (torch: input, forget, candidate, output;
ONNX: input, output, forget, candidate).
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
#: The factor of the intervals, in the network's state and in the file.
INTERVAL_SCALE = "interval_scale"

_GATES = (0, 3, 1, 2)  # of torch's four, in ONNX's order


@dataclass(frozen=True)
class InitializerSource:
    """One initializer made from one entry of the network's state, or from a recurrent layer's two biases.

    Attributes:
        names: of the entries.
        shape: of each.
        transposed: a matrix whose product the exporter turned round.
        gates: the order in which the exporter puts a recurrent layer's blocks of rows; empty where it is no such.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    transposed: bool = False
    gates: tuple[int, ...] = ()

    def write(self, state: State) -> np.ndarray:
        """The initializer's numbers, in its order."""
        arrays = [state[name].detach().numpy() for name in self.names]
        if self.gates:
            blocks = [np.split(array, len(self.gates)) for array in arrays]
            return np.concatenate([half[gate] for half in blocks for gate in self.gates])
        return np.ascontiguousarray(arrays[0].T) if self.transposed else arrays[0]

    def read(self, array: np.ndarray) -> State:
        """The entries of the state that an initializer holds."""
        if self.gates:
            blocks = np.split(array.reshape(-1, *self.shape[1:]), len(self.names) * len(self.gates))
            order = np.argsort(self.gates)
            whole = [
                np.concatenate([blocks[start + place] for place in order])
                for start in range(0, len(blocks), len(order))
            ]
        else:
            whole = [array.T.copy() if self.transposed else array]
        return {
            name: torch.from_numpy(entry.reshape(self.shape).copy())
            for name, entry in zip(self.names, whole, strict=True)
        }


def fill_distinct(module: torch.nn.Module) -> None:
    """Fill every weight with numbers found nowhere else, so that each can be told from all others."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for entry in module.state_dict().values():
            if entry.is_floating_point():
                entry.copy_(torch.rand(entry.shape, generator=random) + 0.5)


def match_initializers(state: State, model: onnx.ModelProto) -> dict[str, InitializerSource] | None:
    """Which form each initializer of `model` has that is made of weights; the rest are constants.

    Args:
        state: filled by `fill_distinct`, and the exported network's.

    Returns:
        None where an entry of the state is in no initializer: the exporter has computed with it, and the graph fits
        no other weights.
    """
    known = {form.write(state).tobytes(): form for form in _possible(state)}
    found = {
        initializer.name: form
        for initializer in model.graph.initializer
        if (form := known.get(onnx.numpy_helper.to_array(initializer).tobytes())) is not None
    }
    placed = {name for form in found.values() for name in form.names}
    return found if placed >= {name for name, entry in state.items() if entry.numel()} else None


def to_json(member: Mapping[str, InitializerSource]) -> str:
    """Where the weights of one member lie, as text for the file's metadata; see `weight_map`."""
    return json.dumps({name: asdict(form) for name, form in member.items()}, sort_keys=True)


def weight_map(text: str, members: int) -> dict[str, InitializerSource]:
    """From initializer to form of all fitted numbers of a file: member by member, and the factor of the intervals.

    Args:
        text: of `to_json`, with names as one member has them alone.
    """
    found = {INTERVAL_SCALE: InitializerSource((INTERVAL_SCALE,), (1,))}
    for name, entry in json.loads(text).items():
        for number in range(members):
            names = tuple(f"members.{number}.{part}" for part in entry["names"])
            found[f"{number}.{name}"] = InitializerSource(
                names, tuple(entry["shape"]), entry["transposed"], tuple(entry["gates"])
            )
    return found


def _possible(state: State) -> Iterator[InitializerSource]:
    for name, entry in state.items():
        shape = tuple(entry.shape)
        if entry.ndim == 2:
            yield InitializerSource((name,), shape, transposed=True)
        layer, _, kind = name.rpartition(".")
        if kind.startswith(("weight_ih_l", "weight_hh_l", "bias_ih_l")):
            inner = state[f"{layer}.weight_hh_l{kind.rpartition('_l')[2]}"].shape[1]
            gates = _GATES if len(entry) == len(_GATES) * inner else (0,)
            both = (name, name.replace("bias_ih", "bias_hh")) if kind.startswith("bias") else (name,)
            yield InitializerSource(both, shape, gates=gates)
        yield InitializerSource((name,), shape)
