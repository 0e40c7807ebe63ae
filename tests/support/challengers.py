"""A store with a champion, and challengers made by changing its graph, so that none has to be fitted."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx

from flows import clock
from flows.settings import file as pipeline_file
from flows.stages.train import train
from model.training.export import from_onnx
from model.training.network import SegmentLSTM
from storage import layout, registry
from storage.schemas.records import FitRecord, Manifest
from tests.support.narrow import open_folder
from tests.support.pipelines import ISSUE

LATER = "2018-09-11"
# Moments after the first champion was trained. The nights compared are then its own, on which it beat the baseline
# by far: in the week before LATER, a quiet one, a small model need not.
AFTER = [f"{ISSUE}T00:00:0{second}" for second in (1, 2, 3)]
NOW = datetime.fromisoformat("2018-10-01T02:00:00+00:00")


def fit_record(manifest: Manifest, **facts: Any) -> FitRecord:
    """Return the facts about the fit of a model, with some changed."""
    return cast(FitRecord, {**manifest, **facts})


class Bench:
    """A pipeline file, its settings, its store, and its first champion's bytes and manifest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = pipeline_file.read(path, {})
        self.store = open_folder(self.settings.pipeline.store)
        (self.first,) = registry.valid_manifests(self.store, "small")
        self.onnx = registry.load(self.store, "small", self.first["version"])

    def train(self, onnx: bytes, as_of: str = LATER, **facts: Any) -> Manifest:
        """Train with `onnx` in the place of what a fit would give."""
        fit = onnx, fit_record(self.first, **facts)
        return train(self.settings, self.store, self.at(as_of), NOW, find_fit=lambda fingerprint: fit)

    def set(self, **training: Any) -> None:
        """Change keys of `[training]`."""
        changed = self.settings.training.model_copy(update=training)
        self.settings = self.settings.model_copy(update={"training": changed})

    def at(self, text: str) -> datetime:
        return clock.parse_time(text, self.settings.pipeline.timezone)

    def serving(self) -> str:
        return registry.champions(self.store, "small")[0]

    def members(self, version: str) -> list[SegmentLSTM]:
        """The networks in a model."""
        network = from_onnx(registry.load(self.store, "small", version), self.settings.spec(("LDC1", "LDC2", "LDC3")))
        assert network is not None
        return network.networks


def changed(model: bytes, *operations: tuple[str, float | None]) -> bytes:
    """The model with operators put behind its output: a name, and a constant for those of two inputs."""
    proto = onnx.load_from_string(model)
    graph = proto.graph
    output = next(output for output in graph.output if output.name == "quantiles")
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name == output.name:
                node.output[i] = "raw0"
    for number, (operator, constant) in enumerate(operations):
        inputs = [f"raw{number}"]
        if constant is not None:
            value = onnx.numpy_helper.from_array(np.array(constant, np.float32), f"constant{number}")
            graph.initializer.append(value)
            inputs.append(value.name)
        last = number == len(operations) - 1
        graph.node.append(onnx.helper.make_node(operator, inputs, [output.name if last else f"raw{number + 1}"]))
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def scaled(model: bytes, by: float) -> bytes:
    """Every forecast too high or too low by a factor."""
    return changed(model, ("Mul", by))


def spoil_model(bench: Bench, version: str) -> None:
    bench.store.path(layout.model("small", version)).write_bytes(b"x")
