"""The train stage: what is compared with what, what is refused, what is reused, what `gatecast models` then says.

Challengers are made here by changing the graph of the trained champion, so that none has to be fitted.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import onnx
import pytest

from flows import clock, pipeline_file
from flows.stages.ladder import champion
from flows.stages.train import _past_widths, due, train
from model.training.export import from_onnx
from model.training.network import SegmentLSTM, same
from storage import layout, registry
from storage.store import open_store
from tests.conftest import ISSUE, gatecast, said
from tests.flows.test_cli import clear

LATER = "2018-09-11"
# Moments after the first champion was trained. The nights compared are then its own, on which it beat the baseline
# by far: in the week before LATER, a quiet one, a small model need not.
AFTER = [f"{ISSUE}T00:00:0{second}" for second in (1, 2, 3)]
NOW = datetime.fromisoformat("2018-10-01T02:00:00+00:00")


class Bench:
    """A pipeline file, its settings, its store, and its first champion's bytes and manifest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = pipeline_file.read(path, {})
        self.store = open_store(self.settings.pipeline.store)
        (self.first,) = registry.manifests(self.store, "small")
        self.onnx = registry.load(self.store, "small", self.first["version"])

    def train(self, onnx: bytes, as_of: str = LATER, **facts) -> dict:
        """Train with `onnx` in the place of what a fit would give."""
        given = (onnx, {**self.first, **facts})
        return train(self.settings, self.store, self.at(as_of), NOW, reuse=lambda fingerprint: given)

    def set(self, **training) -> None:
        """Change keys of `[training]`."""
        changed = self.settings.training.model_copy(update=training)
        self.settings = self.settings.model_copy(update={"training": changed})

    def at(self, text: str) -> datetime:
        return clock.parse(text, self.settings.pipeline.timezone)

    def serving(self) -> str:
        return registry.champions(self.store, "small")[0]

    def members(self, version: str) -> list[SegmentLSTM]:
        """The networks in a model."""
        network = from_onnx(registry.load(self.store, "small", version), self.settings.spec(("LDC1", "LDC2", "LDC3")))
        assert network is not None
        return network.networks


@pytest.fixture
def short(monkeypatch) -> None:
    """Fits stop at the first look that brings nothing: what comes out is not asked for, only what it went on from."""
    monkeypatch.setattr("model.training.fit._EVERY", 10)
    monkeypatch.setattr("model.training.fit._PATIENCE", 1)


@pytest.fixture
def bench(pipeline) -> Bench:
    assert gatecast("ingest", pipeline, "--as-of", LATER).returncode == 0
    return Bench(pipeline)


def changed(model: bytes, *operations: tuple[str, float | None]) -> bytes:
    """The model with operators put behind its output: a name, and a constant for those of two inputs."""
    proto = onnx.load_from_string(model)
    graph = proto.graph
    (output,) = graph.output
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
    return proto.SerializeToString()


def scaled(model: bytes, by: float) -> bytes:
    """Every forecast too high or too low by a factor."""
    return changed(model, ("Mul", by))


def test_the_manifest_tells_everything(bench):
    first = bench.first
    assert first["fitted_to"] < first["seen_to"] <= first["folds"]["first"][:10] + "T04:00:00+00:00"
    assert (first["folds"]["count"], first["folds"]["held_out"], first["decision"]["folds"]) == (7, 7, 7)
    assert set(first["scores"]) == {"baseline", "challenger"}
    assert set(first["scores"]["challenger"]) == {"pinball", "mae", "coverage_80", "n"}
    assert len(first["fingerprint"]) == len(first["data_sha256"]) == 64
    decision = first["decision"]
    assert decision["worst_series"]["series_id"] in decision["reason"]
    assert 0 <= decision["p_value"] <= 1
    assert [g["group"] for g in decision["tests"]["groups"]] == [f"series 'LDC{i}'" for i in (1, 2, 3)]
    json.dumps(decision, allow_nan=False)


def test_a_worse_challenger_is_refused_and_the_champion_stays(bench):
    manifest = bench.train(scaled(bench.onnx, 1.3))
    assert not manifest["decision"]["promoted"]
    assert "does not beat the" in manifest["decision"]["reason"]
    assert manifest["compared_with"] == bench.first["version"] == bench.serving()
    assert set(manifest["scores"]) == {"baseline", "challenger", "champion"}


def test_a_better_challenger_is_promoted(bench):
    worse = bench.train(scaled(bench.onnx, 1.2), as_of=AFTER[0])
    registry.promote(bench.store, "small", worse["version"])
    better = bench.train(scaled(bench.onnx, 1.001), as_of=AFTER[1])
    assert better["compared_with"] == worse["version"]
    assert better["decision"]["promoted"], better["decision"]["reason"]
    assert bench.serving() == better["version"]


def test_a_challenger_that_was_fitted_on_its_evaluation_nights_is_refused(bench):
    """It says so itself: then no night is left that it has not seen, however good it looks."""
    manifest = bench.train(scaled(bench.onnx, 1.001), seen_to=bench.at(LATER).isoformat())
    decision = manifest["decision"]
    assert not decision["promoted"]
    assert "0 of 7 held-out nights are unseen by every candidate, 5 are needed" in decision["reason"]
    assert (manifest["folds"]["count"], manifest["scores"]) == (0, {})
    assert gatecast("models", bench.path).returncode == 0


def test_nights_that_the_champion_has_seen_do_not_count(bench):
    place = bench.store.path(layout.manifest("small", bench.first["version"]))

    def champion_saw(**changes) -> dict:
        place.write_text(json.dumps({k: v for k, v in {**bench.first, **changes}.items() if v is not None}))
        return bench.train(scaled(bench.onnx, 1.3))

    some = champion_saw(seen_to=bench.at("2018-09-06").isoformat())
    assert (some["folds"]["count"], some["folds"]["held_out"]) == (5, 7)
    assert some["folds"]["first"].startswith("2018-09-06")
    few = champion_saw(seen_to=bench.at("2018-09-07").isoformat())
    assert "4 of 7 held-out nights" in few["decision"]["reason"]
    # A manifest from before there was such a key: everything up to its as-of counts as seen.
    old = champion_saw(seen_to=None)
    assert old["folds"]["first"].startswith("2018-09-04")


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        ([("Mul", -1.0), ("Sqrt", None)], "not finite"),
        ([("Neg", None), ("Add", 1e6)], "cross"),
        ([("Sub", 1e5)], "below the lower bound"),
    ],
)
def test_output_that_cannot_be_published_is_refused_with_the_series(bench, operations, words):
    manifest = bench.train(changed(bench.onnx, *operations))
    decision = manifest["decision"]
    assert not decision["promoted"]
    for word in (words, "series 'LDC1' and 2 more series", "7 of 7 nights"):
        assert word in decision["reason"]
    assert bench.serving() == bench.first["version"]
    assert gatecast("models", bench.path).returncode == 0


def test_the_same_bytes_again_are_the_champion_and_change_nothing(bench):
    assert bench.train(bench.onnx, as_of=ISSUE) == bench.first


def test_what_was_rolled_back_from_is_not_promoted_again_by_itself(bench):
    worse = bench.train(scaled(bench.onnx, 1.2), as_of=AFTER[0])
    registry.promote(bench.store, "small", worse["version"])
    good = scaled(bench.onnx, 1.001)
    better = bench.train(good, as_of=AFTER[1])
    assert gatecast("models", bench.path, "--rollback", worse["version"]).returncode == 0
    again = bench.train(good, as_of=AFTER[1])
    assert again["version"] == better["version"]
    assert not again["decision"]["promoted"]
    assert "rolled back from" in again["decision"]["reason"]
    assert bench.serving() == worse["version"]
    # Another challenger, trained later, wins on merit.
    assert bench.train(scaled(bench.onnx, 1.002), as_of=AFTER[2])["decision"]["promoted"]
    # By name it serves again, whatever the later comparison said.
    assert gatecast("models", bench.path, "--rollback", better["version"]).returncode == 0
    assert bench.serving() == better["version"]


def test_a_training_goes_on_from_the_champion_until_a_full_fit_is_due(bench, short):
    assert bench.first["went_on_from"] is None
    assert bench.first["full_fit"] == bench.first["as_of"]
    later = train(bench.settings, bench.store, bench.at(LATER), NOW, gate=False)
    assert (later["went_on_from"], later["full_fit"]) == (bench.first["version"], bench.first["as_of"])
    # The very training again starts where it started, not where it ended.
    again = []
    train(
        bench.settings,
        bench.store,
        bench.at(LATER),
        NOW,
        reuse=lambda print_: again.append(print_) or (bench.onnx, later),
    )
    assert again == [later["fingerprint"]]
    bench.set(full_every=timedelta(days=1))
    full = train(bench.settings, bench.store, bench.at("2018-09-13"), NOW)
    assert (full["went_on_from"], full["full_fit"]) == (None, full["as_of"])


def test_each_training_is_of_the_member_whose_last_is_the_longest_ago(bench, short):
    bench.set(budget=timedelta(seconds=600))
    model = bench.settings.model.model_copy(update={"members": 2})
    bench.settings = bench.settings.model_copy(update={"model": model})
    first = train(bench.settings, bench.store, bench.at(LATER), NOW, gate=False)
    assert first["went_on_from"] is None
    later = train(bench.settings, bench.store, bench.at("2018-09-12"), NOW, gate=False)
    assert (later["went_on_from"], later["full_fit"]) == (first["version"], first["as_of"])
    bench.set(full_every=timedelta(days=2))
    full = train(bench.settings, bench.store, bench.at("2018-09-13"), NOW, gate=False)
    assert (full["went_on_from"], full["full_fit"]) == (later["version"], full["as_of"])
    (a, b), second, third = (bench.members(manifest["version"]) for manifest in (first, later, full))
    assert not same(a, b)
    assert same(second[0], b)
    assert same(third[0], second[1])
    assert not any(same(third[1], member) for member in (a, b, *second))


def test_a_place_that_a_refused_training_was_to_fill_waits_for_another_champion(bench, short):
    bench.set(budget=timedelta(seconds=1))
    model = bench.settings.model.model_copy(update={"members": 2})
    bench.settings = bench.settings.model_copy(update={"model": model})
    first = train(bench.settings, bench.store, bench.at(LATER), NOW, gate=False)
    assert same(*bench.members(first["version"]))
    bench.train(scaled(bench.onnx, 1.3), as_of="2018-09-12", full_fit=None)
    later = train(bench.settings, bench.store, bench.at("2018-09-13"), NOW, gate=False)
    assert (later["went_on_from"], later["full_fit"]) == (first["version"], first["as_of"])
    filled = train(bench.settings, bench.store, bench.at("2018-09-14"), NOW, gate=False)
    assert (filled["went_on_from"], filled["full_fit"]) == (later["version"], filled["as_of"])


def test_before_there_is_a_champion_a_training_goes_on_from_the_newest_that_was_refused(bench, short):
    """Each would else begin from nothing, and as long as the market is calm be refused again."""
    bench.store.remove(layout.champion("small"))
    later = train(bench.settings, bench.store, bench.at(LATER), NOW)
    assert (later["went_on_from"], later["full_fit"]) == (bench.first["version"], bench.first["as_of"])
    spoil_model(bench, bench.first["version"])
    bench.store.remove(layout.champion("small"))
    again = train(bench.settings, bench.store, bench.at(LATER), NOW)
    assert (again["went_on_from"], again["full_fit"]) == (None, again["as_of"])


def test_weights_of_a_network_that_was_another_are_nothing_to_go_on_from(bench, short):
    """Of a version that computed something else with them."""
    other = bench.train(scaled(bench.onnx, 1.1), as_of=AFTER[0])
    registry.promote(bench.store, "small", other["version"])
    later = train(bench.settings, bench.store, bench.at(AFTER[1]), NOW)
    assert later["went_on_from"] is None


def test_a_full_fit_that_was_refused_is_not_repeated_at_once(bench, short):
    """Another would see nearly the same, at twenty times the cost of going on from the champion."""
    bench.set(full_every=timedelta(days=6))
    refused = bench.train(scaled(bench.onnx, 1.3), full_fit=None)
    assert (refused["decision"]["promoted"], refused["went_on_from"]) == (False, None)
    soon = train(bench.settings, bench.store, bench.at("2018-09-13"), NOW)
    assert (soon["went_on_from"], soon["full_fit"]) == (bench.first["version"], bench.first["as_of"])
    bench.set(full_every=timedelta(days=3))
    late = train(bench.settings, bench.store, bench.at("2018-09-14"), NOW)
    assert late["full_fit"] == late["as_of"]


def test_the_intervals_learn_from_the_nights_that_judged_earlier_models():
    """Only from nights before those that will judge, from none twice, and not from those of years ago."""

    def record(as_of: str, first: str, asked: float | None) -> dict:
        zone = "T00:00:00+00:00"
        return {"as_of": as_of + zone, "stretch": 1.1, "stretch_asked": asked, "folds": {"first": first + zone}}

    records = [
        record("2016-01-01", "2015-12-04", 9.0),
        record("2017-11-01", "2017-10-04", 1.0),
        record("2018-01-10", "2017-12-13", 2.0),
        record("2018-01-03", "2017-12-06", 3.0),
        record("2017-12-13", "2017-11-15", 4.0),
        record("2017-11-08", "2017-10-11", None),
        record("2018-02-07", "2018-01-10", 5.0),
        {"as_of": "2017-11-02T00:00:00+00:00", "folds": {"first": None}},
    ]
    as_of = datetime.fromisoformat("2018-02-07T00:00:00+00:00")
    judged = int(datetime.fromisoformat("2018-01-10T00:00:00+00:00").timestamp() * 1e6)
    assert _past_widths(records, as_of, judged) == [2.2, 4.4, 1.1]


def test_the_manifest_says_how_wide_the_intervals_were_and_should_have_been(bench):
    assert 0.5 <= bench.first["stretch"] <= 2.0
    assert 0.3 < bench.first["stretch_asked"] < 3.0
    asked = []
    for factor in (1.0, 2.0):
        proto = onnx.load_from_string(changed(bench.onnx, ("Identity", None)))
        (stretch,) = [entry for entry in proto.graph.initializer if entry.name == "stretch"]
        wider = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(stretch) * np.float32(factor), stretch.name)
        stretch.CopyFrom(wider)
        asked.append(bench.train(proto.SerializeToString())["stretch_asked"])
    assert asked[1] == pytest.approx(asked[0] / 2, rel=0.01)


def test_a_training_is_reused_by_its_fingerprint(bench):
    asked = []

    def reuse(fingerprint):
        asked.append(fingerprint)
        return scaled(bench.onnx, 1.3), bench.first

    manifest = train(bench.settings, bench.store, bench.at(LATER), NOW, reuse=reuse)
    assert manifest["fingerprint"] == asked[0]
    for name in ("windows", "fitted_to", "seen_to", "parity"):
        assert manifest[name] == bench.first[name]
    found = registry.find(bench.store, "small", bench.at(LATER), asked[0])
    assert found["version"] == manifest["version"]
    # The seed counts, and so does one more day of history; how often one is trained does not.
    bench.set(every=timedelta(days=7), keep=5)
    train(bench.settings, bench.store, bench.at(LATER), NOW, reuse=reuse)
    bench.set(seed=8)
    train(bench.settings, bench.store, bench.at(LATER), NOW, reuse=reuse)
    bench.set(seed=7)
    assert gatecast("ingest", bench.path, "--as-of", "2018-09-12").returncode == 0
    train(bench.settings, bench.store, bench.at("2018-09-12"), NOW, reuse=reuse)
    assert asked[1] == asked[0]
    assert len(set(asked)) == 3


def test_old_files_are_pruned_after_a_training(bench):
    bench.set(keep=1)
    refused = [
        bench.train(scaled(bench.onnx, 1.3 + i / 10), as_of=f"2018-09-11T00:00:0{i}")["version"] for i in range(3)
    ]
    there = {key.split("/")[-2] for key in bench.store.keys(layout.models("small"), "model.onnx")}
    assert there == {bench.first["version"], refused[-1]}
    shown = gatecast("models", bench.path)
    assert shown.returncode == 0
    for version in (bench.first["version"], *refused):
        assert version in shown.stdout
    assert shown.stdout.count("pruned") == 2
    clear(gatecast("models", bench.path, "--rollback", refused[0]), 1, "never was the champion")


def test_refused_challengers_do_not_make_every_night_train(bench):
    """With no champion, as with one, the next attempt is `every` after the last."""
    bench.set(every=timedelta(days=7))
    bench.store.remove(layout.champion("small"))
    assert due(bench.settings, bench.store, bench.at(ISSUE)) is None
    assert due(bench.settings, bench.store, bench.at("2018-09-07")) is None
    assert "7 days" in due(bench.settings, bench.store, bench.at("2018-09-08"))
    assert "there is no champion" in due(bench.settings, bench.store, bench.at("2018-08-31"))


def test_a_champion_that_cannot_be_loaded_is_renewed_at_once(bench):
    assert due(bench.settings, bench.store, bench.at(ISSUE)) is None
    bench.store.path(layout.model("small", bench.first["version"])).write_bytes(b"x")
    assert "sha256 differs" in due(bench.settings, bench.store, bench.at(ISSUE))


def spoil_model(bench: Bench, version: str) -> None:
    bench.store.path(layout.model("small", version)).write_bytes(b"x")


def lose_model(bench: Bench, version: str) -> None:
    bench.store.remove(layout.model("small", version))


def spoil_manifest(bench: Bench, version: str) -> None:
    bench.store.path(layout.manifest("small", version)).write_bytes(b"{")


def lose_manifest(bench: Bench, version: str) -> None:
    bench.store.remove(layout.manifest("small", version))


@pytest.mark.parametrize("spoil", [spoil_model, lose_model, spoil_manifest, lose_manifest])
def test_the_ladder_goes_on_to_the_predecessor(bench, spoil):
    later = bench.train(scaled(bench.onnx, 1.2))["version"]
    registry.promote(bench.store, "small", later)
    spoil(bench, later)
    serving, _ = champion(bench.settings, bench.store, bench.at(LATER))
    assert serving.version == bench.first["version"]
    assert serving.why_stale
    done = gatecast("forecast", bench.path, "--issue-time", LATER, "--json")
    assert done.returncode == 3
    assert said(done)["status"] == {"stale_model": 72}


def test_a_broken_champion_file_is_one_clear_error_everywhere(bench):
    bench.store.path(layout.champion("small")).write_bytes(b"{")
    clear(gatecast("forecast", bench.path, "--issue-time", ISSUE), 1, "champion.json", "not valid JSON")
    clear(gatecast("models", bench.path), 1, "champion.json")
    clear(gatecast("train", bench.path, "--as-of", LATER), 1, "champion.json")
    assert gatecast("models", bench.path, "--rollback", bench.first["version"]).returncode == 0
    assert gatecast("forecast", bench.path, "--issue-time", ISSUE).returncode == 0


def test_models_is_a_table_and_says_which_manifest_is_broken(bench):
    refused = bench.train(scaled(bench.onnx, 1.3))
    done = gatecast("models", bench.path)
    head, *rows = done.stdout.splitlines()
    for word in ("version", "trained_as_of", "seconds", "pinball", "champion", "baseline", "coverage_80", "decision"):
        assert word in head
    assert [row.split()[0] == "*" for row in rows] == [True, False]
    assert refused["decision"]["reason"] in rows[1]
    assert "promoted: pinball" in rows[0]
    spoil_manifest(bench, refused["version"])
    done = gatecast("models", bench.path)
    clear(done, 1, refused["version"], "not valid JSON")
    assert bench.first["version"] in done.stdout
