"""Warm start: which weights and which member a training starts from, and when from random weights."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from flows.stages.train import train
from model.training.network import has_equal_weights
from model.training.options import EarlyStopping, FitOptions
from storage import layout, registry
from storage.schemas.records import FitRecord
from tests.support.challengers import AFTER, LATER, NOW, Bench, fit_record, scaled, spoil_model

pytestmark = pytest.mark.training


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make fits short. These tests check what a fit starts from, not its quality."""
    stopping = EarlyStopping(every=10, patience=1)
    monkeypatch.setattr("model.training.options.FitOptions", partial(FitOptions, full_stopping=stopping))


def test_a_training_starts_from_the_champion_until_a_full_fit_is_due(bench: Bench, short: None) -> None:
    assert bench.first["warm_start_from"] is None
    assert bench.first["full_fit"] == bench.first["as_of"]
    later = train(bench.settings, bench.store, bench.at(LATER), NOW, requires_promotion=False)
    assert (later["warm_start_from"], later["full_fit"]) == (bench.first["version"], bench.first["as_of"])
    # A repeated training starts from the same weights, not from its own result.
    again = []

    def find_fit(fingerprint: str) -> tuple[bytes, FitRecord]:
        again.append(fingerprint)
        return bench.onnx, fit_record(later)

    train(bench.settings, bench.store, bench.at(LATER), NOW, find_fit=find_fit)
    assert again == [later["fingerprint"]]
    bench.set(full_every=timedelta(days=1))
    full = train(bench.settings, bench.store, bench.at("2018-09-13"), NOW)
    assert (full["warm_start_from"], full["full_fit"]) == (None, full["as_of"])


def test_each_training_fits_the_member_that_was_fitted_first(bench: Bench, short: None) -> None:
    bench.set(budget=timedelta(seconds=600))
    model = bench.settings.model.model_copy(update={"members": 2})
    bench.settings = bench.settings.model_copy(update={"model": model})
    first = train(bench.settings, bench.store, bench.at(LATER), NOW, requires_promotion=False)
    assert first["warm_start_from"] is None
    later = train(bench.settings, bench.store, bench.at("2018-09-12"), NOW, requires_promotion=False)
    assert (later["warm_start_from"], later["full_fit"]) == (first["version"], first["as_of"])
    bench.set(full_every=timedelta(days=2))
    full = train(bench.settings, bench.store, bench.at("2018-09-13"), NOW, requires_promotion=False)
    assert (full["warm_start_from"], full["full_fit"]) == (later["version"], full["as_of"])
    (a, b), second, third = (bench.members(manifest["version"]) for manifest in (first, later, full))
    assert not has_equal_weights(a, b)
    assert has_equal_weights(second[0], b)
    assert has_equal_weights(third[0], second[1])
    assert not any(has_equal_weights(third[1], member) for member in (a, b, *second))


def test_a_member_copy_is_fitted_again_only_after_the_next_promotion(bench: Bench, short: None) -> None:
    bench.set(budget=timedelta(seconds=1))
    model = bench.settings.model.model_copy(update={"members": 2})
    bench.settings = bench.settings.model_copy(update={"model": model})
    first = train(bench.settings, bench.store, bench.at(LATER), NOW, requires_promotion=False)
    assert has_equal_weights(*bench.members(first["version"]))
    bench.train(scaled(bench.onnx, 1.3), as_of="2018-09-12", full_fit=None)
    later = train(bench.settings, bench.store, bench.at("2018-09-13"), NOW, requires_promotion=False)
    assert (later["warm_start_from"], later["full_fit"]) == (first["version"], first["as_of"])
    filled = train(bench.settings, bench.store, bench.at("2018-09-14"), NOW, requires_promotion=False)
    assert (filled["warm_start_from"], filled["full_fit"]) == (later["version"], filled["as_of"])


def test_without_a_champion_a_training_starts_from_the_newest_refused_model(bench: Bench, short: None) -> None:
    """Without this, each training would start from random weights and could be refused each time."""
    bench.store.remove(layout.champion("small"))
    later = train(bench.settings, bench.store, bench.at(LATER), NOW)
    assert (later["warm_start_from"], later["full_fit"]) == (bench.first["version"], bench.first["as_of"])
    spoil_model(bench, bench.first["version"])
    bench.store.remove(layout.champion("small"))
    again = train(bench.settings, bench.store, bench.at(LATER), NOW)
    assert (again["warm_start_from"], again["full_fit"]) == (None, again["as_of"])


def test_weights_of_another_network_are_not_used(bench: Bench, short: None) -> None:
    """The champion's file computes something else than the network with its weights."""
    other = bench.train(scaled(bench.onnx, 1.1), as_of=AFTER[0])
    registry.promote(bench.store, "small", other["version"])
    later = train(bench.settings, bench.store, bench.at(AFTER[1]), NOW)
    assert later["warm_start_from"] is None


def test_a_refused_full_fit_is_not_repeated_at_once(bench: Bench, short: None) -> None:
    """A repetition would see nearly the same data, at twenty times the cost of a warm start."""
    bench.set(full_every=timedelta(days=6))
    refused = bench.train(scaled(bench.onnx, 1.3), full_fit=None)
    assert (refused["decision"]["promoted"], refused["warm_start_from"]) == (False, None)
    soon = train(bench.settings, bench.store, bench.at("2018-09-13"), NOW)
    assert (soon["warm_start_from"], soon["full_fit"]) == (bench.first["version"], bench.first["as_of"])
    bench.set(full_every=timedelta(days=3))
    late = train(bench.settings, bench.store, bench.at("2018-09-14"), NOW)
    assert late["full_fit"] == late["as_of"]
