"""Training stage: comparison, refusal and reuse of challengers, and the output of `gatecast models`.

The challengers are changed graphs of the trained champion, so that none has to be fitted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

import numpy as np
import onnx
import pytest

from flows.stages.fitting import past_scales
from flows.stages.loaded_models import load_champion
from flows.stages.retrain import retrain_reason
from flows.stages.train import train
from flows.stages.trained_models import read_trained_models
from storage import layout, registry
from storage.schemas.records import FitRecord, Manifest
from tests.support.challengers import AFTER, LATER, NOW, Bench, changed, fit_record, scaled, spoil_model
from tests.support.commands import clear, gatecast, json_report
from tests.support.narrow import present
from tests.support.pipelines import ISSUE

pytestmark = pytest.mark.training


def test_the_manifest_has_all_facts_of_the_training(bench: Bench) -> None:
    first = bench.first
    assert first["fitted_to"] < first["seen_to"] <= present(first["folds"]["first"])[:10] + "T04:00:00+00:00"
    assert (first["folds"]["count"], first["folds"]["held_out"], first["decision"]["folds"]) == (7, 7, 7)
    assert set(first["scores"]) == {"baseline", "challenger"}
    assert set(first["scores"]["challenger"]) == {"pinball", "mae", "coverage_80", "n"}
    assert len(first["fingerprint"]) == len(first["data_sha256"]) == 64
    decision = first["decision"]
    assert str(decision["worst_series"]["series_id"]) in decision["reason"]
    assert 0 <= present(decision["p_value"]) <= 1
    assert [g["group"] for g in decision["tests"]["groups"]] == [f"series 'LDC{i}'" for i in (1, 2, 3)]
    json.dumps(decision, allow_nan=False)


def test_the_manifest_records_how_far_the_fit_came(bench: Bench) -> None:
    first = bench.first
    curve = first["loss_curve"]
    assert first["updates"] == curve[-1][1] <= bench.settings.training.max_updates
    assert [update for _, update, _ in curve] == sorted(update for _, update, _ in curve)
    assert curve[-1][2] <= curve[0][2] < first["baseline_loss"] * 2
    assert first["epochs"] > 1
    assert first["is_cut_short"] is False
    assert len(first["linear_weights"]) == 4 and all(0 < weight < 1 for weight in first["linear_weights"])


def test_a_network_whose_budget_ended_before_it_had_learned_is_refused(bench: Bench) -> None:
    worse = bench.train(scaled(bench.onnx, 1.2), as_of=AFTER[0])
    registry.promote(bench.store, "small", worse["version"])
    manifest = bench.train(scaled(bench.onnx, 1.001), as_of=AFTER[1], updates=0, warm_start_from=None)
    assert not manifest["decision"]["promoted"]
    assert "fewer than 50 updates" in manifest["decision"]["reason"]
    assert "raise training.budget" in manifest["decision"]["reason"]


def test_a_worse_challenger_is_refused_and_the_champion_stays(bench: Bench) -> None:
    manifest = bench.train(scaled(bench.onnx, 1.3))
    assert not manifest["decision"]["promoted"]
    assert "does not beat the" in manifest["decision"]["reason"]
    assert manifest["compared_with"] == bench.first["version"] == bench.serving()
    assert set(manifest["scores"]) == {"baseline", "challenger", "champion"}


def test_a_better_challenger_is_promoted(bench: Bench) -> None:
    worse = bench.train(scaled(bench.onnx, 1.2), as_of=AFTER[0])
    registry.promote(bench.store, "small", worse["version"])
    better = bench.train(scaled(bench.onnx, 1.001), as_of=AFTER[1])
    assert better["compared_with"] == worse["version"]
    assert better["decision"]["promoted"], better["decision"]["reason"]
    assert bench.serving() == better["version"]


def test_a_challenger_that_was_fitted_on_its_held_out_issue_times_is_refused(bench: Bench) -> None:
    """Train a good challenger whose `seen_to` is after all held-out issue times."""
    manifest = bench.train(scaled(bench.onnx, 1.001), seen_to=bench.at(LATER).isoformat())
    decision = manifest["decision"]
    assert not decision["promoted"]
    assert "0 of 7 held-out issue times are unseen by every candidate, 5 are needed" in decision["reason"]
    assert (manifest["folds"]["count"], manifest["scores"]) == (0, {})
    assert gatecast("models", bench.path).returncode == 0


def test_issue_times_that_the_champion_has_seen_do_not_count(bench: Bench) -> None:
    path = bench.store.path(layout.manifest("small", bench.first["version"]))

    def champion_saw(**changes: Any) -> Manifest:
        path.write_text(json.dumps({k: v for k, v in {**bench.first, **changes}.items() if v is not None}))
        return bench.train(scaled(bench.onnx, 1.3))

    some = champion_saw(seen_to=bench.at("2018-09-06").isoformat())
    assert (some["folds"]["count"], some["folds"]["held_out"]) == (5, 7)
    assert present(some["folds"]["first"]).startswith("2018-09-06")
    few = champion_saw(seen_to=bench.at("2018-09-07").isoformat())
    assert "4 of 7 held-out issue times" in few["decision"]["reason"]
    # An old manifest has no such key. The model then counts as having seen everything up to its issue time.
    old = champion_saw(seen_to=None)
    assert present(old["folds"]["first"]).startswith("2018-09-04")


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        ([("Mul", -1.0), ("Sqrt", None)], "not finite"),
        ([("Neg", None), ("Add", 1e6)], "cross"),
        ([("Sub", 1e5)], "below the lower bound"),
    ],
)
def test_output_that_cannot_be_published_is_refused_with_the_series(
    bench: Bench, operations: list[tuple[str, float | None]], words: str
) -> None:
    manifest = bench.train(changed(bench.onnx, *operations))
    decision = manifest["decision"]
    assert not decision["promoted"]
    for word in (words, "series 'LDC1' and 2 more series", "7 of 7 issue times"):
        assert word in decision["reason"]
    assert bench.serving() == bench.first["version"]
    assert gatecast("models", bench.path).returncode == 0


def test_the_bytes_of_the_champion_change_nothing(bench: Bench) -> None:
    assert bench.train(bench.onnx, as_of=ISSUE) == bench.first


def test_a_version_that_was_rolled_back_from_is_not_promoted_again(bench: Bench) -> None:
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
    # Another challenger, trained later, may win the comparison.
    assert bench.train(scaled(bench.onnx, 1.002), as_of=AFTER[2])["decision"]["promoted"]
    # A rollback that names the version makes it serve again, also after a later promotion.
    assert gatecast("models", bench.path, "--rollback", better["version"]).returncode == 0
    assert bench.serving() == better["version"]


def test_past_interval_scales_use_each_held_out_issue_time_once() -> None:
    """Only issue times before the held-out ones and within a year count."""

    def record(as_of: str, first: str, required: float | None) -> Manifest:
        zone = "T00:00:00+00:00"
        keys = {"as_of": as_of + zone, "interval_scale": 1.1, "required_scale": required}
        return cast(Manifest, {**keys, "folds": {"first": first + zone}})

    records = [
        record("2016-01-01", "2015-12-04", 9.0),
        record("2017-11-01", "2017-10-04", 1.0),
        record("2018-01-10", "2017-12-13", 2.0),
        record("2018-01-03", "2017-12-06", 3.0),
        record("2017-12-13", "2017-11-15", 4.0),
        record("2017-11-08", "2017-10-11", None),
        record("2018-02-07", "2018-01-10", 5.0),
        cast(Manifest, {"as_of": "2017-11-02T00:00:00+00:00", "folds": {"first": None}}),
    ]
    as_of = datetime.fromisoformat("2018-02-07T00:00:00+00:00")
    judged = int(datetime.fromisoformat("2018-01-10T00:00:00+00:00").timestamp() * 1e6)
    assert past_scales(records, as_of, judged) == [2.2, 4.4, 1.1]


def test_the_manifest_has_the_interval_scale_and_the_required_scale(bench: Bench) -> None:
    assert 0.5 <= bench.first["interval_scale"] <= 2.0
    assert 0.3 < present(bench.first["required_scale"]) < 3.0
    required = []
    for factor in (1.0, 2.0):
        proto = onnx.load_from_string(changed(bench.onnx, ("Identity", None)))
        (scale,) = [entry for entry in proto.graph.initializer if entry.name == "interval_scale"]
        wider = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) * np.float32(factor), scale.name)
        scale.CopyFrom(wider)
        required.append(present(bench.train(proto.SerializeToString())["required_scale"]))
    assert required[1] == pytest.approx(required[0] / 2, rel=0.01)


def test_a_training_is_reused_by_its_fingerprint(bench: Bench) -> None:
    fingerprints = []

    def find_fit(fingerprint: str) -> tuple[bytes, FitRecord]:
        fingerprints.append(fingerprint)
        return scaled(bench.onnx, 1.3), fit_record(bench.first)

    manifest = train(bench.settings, bench.store, bench.at(LATER), NOW, find_fit=find_fit)
    assert manifest["fingerprint"] == fingerprints[0]
    for name in ("windows", "fitted_to", "seen_to", "parity"):
        assert manifest[name] == bench.first[name]
    reused = registry.find_by_fingerprint(bench.store, "small", bench.at(LATER), fingerprints[0])
    assert present(reused)["version"] == manifest["version"]
    # The seed and another day of history change the fingerprint. The training interval does not.
    bench.set(every=timedelta(days=7), keep=5)
    train(bench.settings, bench.store, bench.at(LATER), NOW, find_fit=find_fit)
    bench.set(seed=8)
    train(bench.settings, bench.store, bench.at(LATER), NOW, find_fit=find_fit)
    bench.set(seed=7)
    assert gatecast("ingest", bench.path, "--as-of", "2018-09-12").returncode == 0
    train(bench.settings, bench.store, bench.at("2018-09-12"), NOW, find_fit=find_fit)
    assert fingerprints[1] == fingerprints[0]
    assert len(set(fingerprints)) == 3


def test_old_files_are_pruned_after_a_training(bench: Bench) -> None:
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


def reason_at(bench: Bench, issue_time: datetime) -> str | None:
    models = read_trained_models(bench.settings, bench.store, issue_time)
    return retrain_reason(bench.settings, models, issue_time)


def test_a_refused_challenger_counts_as_a_training(bench: Bench) -> None:
    """With or without a champion, the next training is `training.every` after the last."""
    bench.set(every=timedelta(days=7))
    bench.store.remove(layout.champion("small"))
    assert reason_at(bench, bench.at(ISSUE)) is None
    assert reason_at(bench, bench.at("2018-09-07")) is None
    assert "7d" in present(reason_at(bench, bench.at("2018-09-08")))
    assert "there is no champion" in present(reason_at(bench, bench.at("2018-08-31")))


def test_a_champion_that_cannot_be_loaded_makes_a_training_due(bench: Bench) -> None:
    assert reason_at(bench, bench.at(ISSUE)) is None
    bench.store.path(layout.model("small", bench.first["version"])).write_bytes(b"x")
    assert "sha256 differs" in present(reason_at(bench, bench.at(ISSUE)))


def remove_model(bench: Bench, version: str) -> None:
    bench.store.remove(layout.model("small", version))


def damage_manifest(bench: Bench, version: str) -> None:
    bench.store.path(layout.manifest("small", version)).write_bytes(b"{")


def remove_manifest(bench: Bench, version: str) -> None:
    bench.store.remove(layout.manifest("small", version))


@pytest.mark.parametrize("damage", [spoil_model, remove_model, damage_manifest, remove_manifest])
def test_the_predecessor_serves_if_the_champion_cannot_be_loaded(
    bench: Bench, damage: Callable[[Bench, str], None]
) -> None:
    later = bench.train(scaled(bench.onnx, 1.2))["version"]
    registry.promote(bench.store, "small", later)
    damage(bench, later)
    serving, _ = load_champion(bench.settings, bench.store, bench.at(LATER))
    assert serving is not None
    assert serving.version == bench.first["version"]
    assert serving.stale_reason
    done = gatecast("forecast", bench.path, "--issue-time", LATER, "--json")
    assert done.returncode == 3
    assert json_report(done)["status"] == {"stale_model": 72}


def test_a_damaged_champion_json_is_one_clear_error_everywhere(bench: Bench) -> None:
    bench.store.path(layout.champion("small")).write_bytes(b"{")
    done = gatecast("forecast", bench.path, "--issue-time", ISSUE)
    assert done.returncode == 3 and "72 baseline rows" in done.stdout
    assert "champion.json" in done.stdout and "not valid JSON" in done.stdout
    clear(gatecast("models", bench.path), 1, "champion.json")
    clear(gatecast("train", bench.path, "--as-of", LATER), 1, "champion.json")
    assert gatecast("models", bench.path, "--rollback", bench.first["version"]).returncode == 0
    assert gatecast("forecast", bench.path, "--issue-time", ISSUE).returncode == 0


def test_models_prints_a_table_and_names_damaged_manifests(bench: Bench) -> None:
    refused = bench.train(scaled(bench.onnx, 1.3))
    done = gatecast("models", bench.path)
    head, *rows = done.stdout.splitlines()
    for word in ("version", "trained_as_of", "seconds", "pinball", "champion", "baseline", "coverage_80", "decision"):
        assert word in head
    assert [row.split()[0] == "*" for row in rows] == [True, False]
    assert refused["decision"]["reason"] in rows[1]
    assert "promoted: pinball" in rows[0]
    damage_manifest(bench, refused["version"])
    done = gatecast("models", bench.path)
    clear(done, 1, refused["version"], "not valid JSON")
    assert bench.first["version"] in done.stdout
