"""Stores of earlier versions: later versions read them, forecast the same and train on from their champions."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
import torch

from flows.settings import file as pipeline_file
from flows.settings.pipeline import Pipeline
from flows.stages.forecast import forecast
from flows.stages.train import train
from model.calendar import CALENDAR
from model.forecaster import Forecaster
from model.training.export import from_onnx, to_onnx, verified_network, verify_export
from model.training.introspection import trace_recurrent_layers
from model.windows import Windows
from storage import registry
from storage.store import Store, open_store

pytestmark = pytest.mark.training

OLD = Path(__file__).parent.parent / "data" / "version_0_1"
VERSION = "20230814T000000Z-97361c88"
ISSUE_TIME = datetime(2023, 8, 14, tzinfo=UTC)


@pytest.fixture
def old(tmp_path: Path) -> tuple[Pipeline, Store]:
    """The settings and a copy of the store of version 0.1.0."""
    path = Path(shutil.copytree(OLD, tmp_path / "old")) / "old.toml"
    settings = pipeline_file.read(path, {})
    return settings, open_store(settings.pipeline.store)


@pytest.fixture(scope="module")
def model() -> bytes:
    return (OLD / "store" / "models" / "old" / VERSION / "model.onnx").read_bytes()


@pytest.fixture(scope="module")
def samples() -> Windows:
    """Random windows of the old model, one value of them missing."""
    random = np.random.default_rng(3)
    target = (100 + random.normal(size=(70, 10))).astype(np.float32)
    target[1, 4] = np.nan
    calendar = random.normal(size=(70, 13, len(CALENDAR))).astype(np.float32)
    nothing = np.empty((70, 13, 0), np.float32)
    return Windows(target, nothing, nothing[:, :10], calendar, random.integers(0, 2, 70))


def test_an_old_champion_forecasts_the_same(old: tuple[Pipeline, Store]) -> None:
    settings, store = old
    published = forecast(settings, store, ISSUE_TIME)
    assert published["model_version"] == VERSION
    rows, recorded = pl.read_parquet(published["path"]), pl.read_parquet(OLD / "forecast.parquet")
    # The quantiles may differ in their last bits between processors. The rest must be equal.
    quantiles = ["q10", "q50", "q90"]
    assert rows.drop(quantiles).equals(recorded.drop(quantiles))
    np.testing.assert_allclose(rows.select(quantiles), recorded.select(quantiles), rtol=1e-6)


def test_a_training_continues_from_an_old_champion(old: tuple[Pipeline, Store]) -> None:
    settings, store = old
    short = settings.training.model_copy(update={"max_updates": 20})
    settings = settings.model_copy(update={"training": short})
    later = datetime(2023, 8, 15, tzinfo=UTC)
    manifest = train(settings, store, later, later)
    assert manifest["warm_start_from"] == VERSION
    assert manifest["full_fit"] == ISSUE_TIME.isoformat()
    assert from_onnx(registry.load(store, "old", manifest["version"]), settings.spec(("close",))) is not None


def test_an_old_file_gives_the_network_that_it_holds(model: bytes, samples: Windows) -> None:
    spec = Forecaster(model).spec
    network = verified_network(model, spec, samples)
    assert network is not None
    held = {entry.name: onnx.numpy_helper.to_array(entry) for entry in onnx.load_from_string(model).graph.initializer}
    assert network.interval_scale.numpy() == held["stretch"]
    for number, member in enumerate(network.networks):
        np.testing.assert_array_equal(member.half_residual_quantiles, held[f"{number}.member.half_usual"])
        np.testing.assert_array_equal(member.series_embedding.weight.detach(), held[f"{number}.member.identity.weight"])


def test_a_network_is_written_into_the_graph_of_an_old_file(model: bytes, samples: Windows) -> None:
    network = from_onnx(model, Forecaster(model).spec)
    assert network is not None
    with torch.no_grad():
        for entry in network.state_dict().values():
            entry.mul_(1.1)
    written = to_onnx(network, like=model)
    assert verify_export(network, written, samples, (1, 70)) <= 1e-5
    opened = from_onnx(written, network.spec)
    assert opened is not None
    assert all(torch.equal(entry, opened.state_dict()[name]) for name, entry in network.state_dict().items())
    assert b"stretch" not in written


def test_the_gates_of_an_old_file_can_be_traced(model: bytes, samples: Windows) -> None:
    layers = trace_recurrent_layers(model, samples)
    assert [(at.member, at.subnetwork) for at in layers] == [
        (0, "encoder"), (0, "decoder"), (1, "encoder"), (1, "decoder"),
    ]  # fmt: skip
