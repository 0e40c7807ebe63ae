"""Promotion of real networks: an overfitted challenger is refused and a better one promoted, with eight seeds each.

Daily series depend on a temperature. The overfitted challenger is fitted and stopped early on the issue times that it
is first judged on. The better challenger is fitted after the sign of the temperature's effect has changed, the
champion before.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.evaluation.comparison import IssueTimes, compare
from model.evaluation.promotion import decide
from model.panel import Channel, Panel, RevisionLayer
from model.spec import ModelSpec
from model.timegrid import TimeGrid
from model.training.devices import to_tensors
from model.training.fit import fit
from model.training.network import Ensemble
from model.training.options import FitOptions, TrainingData
from model.training.samples import build_sampler, make_batch
from model.windows import Windows

# The timeout is generous: this takes 40 seconds on one free core.
pytestmark = [pytest.mark.training, pytest.mark.timeout(1800)]

SEEDS = range(8)
RIGHT = 7  # of 8 seeds
FIRST, DAYS, CHANGE = 15_000, 700, 300
GRID = TimeGrid("1d", "UTC", None)
SPEC = ModelSpec(
    frequency="1d", timezone="UTC", holidays=None, horizon=3, context=28, season=7, segment=7,
    levels=(0.1, 0.3, 0.5, 0.7, 0.9), lower=None, upper=None, known_future=("temperature",), observed=(),
    head="quantile", cell="lstm", hidden_size=16, layers=1, members=1, series=("a", "b", "c"),
)  # fmt: skip


class Network:
    """A fitted network run by torch. Other tests show that ONNX Runtime gives the same, at seconds per model."""

    def __init__(self, network: Ensemble) -> None:
        self.spec, self.network = network.spec, network

    def quantiles(self, windows: Windows) -> np.ndarray:
        calendar = np.repeat(windows.calendar, len(windows) // len(windows.calendar), axis=0)
        with torch.inference_mode():
            quantiles: np.ndarray = self.network(**to_tensors(replace(windows, calendar=calendar))).numpy()
        return quantiles.astype(np.float64)


def simulate(seed: int, changes: bool) -> Panel:
    """Return series driven by a temperature. If `changes`, its effect changes sign on day CHANGE."""
    random = np.random.default_rng(seed)
    temperature = np.zeros(DAYS)
    for day in range(1, DAYS):
        temperature[day] = 0.8 * temperature[day - 1] + random.normal()
    effect = np.where(changes & (np.arange(DAYS) >= CHANGE), -0.7, 0.7)
    week = 8 + 2 * np.sin(2 * np.pi * np.arange(DAYS) / 7)
    scale = np.array([[10.0], [15.0], [20.0]])
    target = scale * (week + effect * temperature + 0.7 * random.normal(size=(3, DAYS)))
    known = np.tile(GRID.end(FIRST + np.arange(DAYS)), (3, 1))
    return Panel(
        GRID, SPEC.series, FIRST, Channel("target", (RevisionLayer(target.astype(np.float32), known),)),
        (Channel("temperature", (RevisionLayer(temperature[None].astype(np.float32), None),)),), (),
    )  # fmt: skip


def issue_times(first: int, last: int) -> IssueTimes:
    """Return the beginnings of days `first` to `last`, both included."""
    steps = FIRST + np.arange(first, last + 1)
    return IssueTimes(GRID.start(steps), steps)


def fit_network(panel: Panel, first: int, last: int, stop: IssueTimes, updates: int, seed: int) -> Network:
    """Fit on forecasts of days `first` to `last`. Stop early on `stop`, after at most `updates`."""
    source = build_sampler(SPEC, panel, FIRST + last, 0, 0)
    source = replace(source, first=FIRST + first, starts=source.starts[source.starts[:, 1] >= FIRST + first])
    validation = make_batch(SPEC, panel, *stop.window_keys(panel))
    # Waiting for a second thread on a busy machine makes products of this size ten times slower.
    options = FitOptions(seed, max_updates=updates, threads=1)
    return Network(fit(TrainingData(source, validation), options))


@pytest.fixture(scope="module")
def champions() -> list[Network]:
    """A champion per seed, fitted before day CHANGE."""
    stop = issue_times(CHANGE - 27, CHANGE - 4)
    return [fit_network(simulate(seed, changes=False), 28, CHANGE - 30, stop, 130, seed) for seed in SEEDS]


def test_overfitted_challenger_is_refused(champions: list[Network]) -> None:
    refused, promoted_on_seen = [], 0
    for seed, champion in zip(SEEDS, champions, strict=True):
        panel, evaluation = simulate(seed, changes=False), issue_times(600, 609)
        overfitted = fit_network(panel, 600, 609, evaluation, 200, seed + 100)
        models = {"challenger": overfitted, "champion": champion}
        promoted_on_seen += decide(compare(SPEC, panel, evaluation, models), 0.0).promoted
        decision = decide(compare(SPEC, panel, issue_times(616, 643), models), 0.0)
        refused.append((not decision.promoted, decision.reason))
    # On the issue times that it was fitted on, it would nearly always be promoted. Only unseen ones refuse it.
    assert promoted_on_seen >= RIGHT
    assert sum(right for right, _ in refused) >= RIGHT, refused


def test_better_challenger_is_promoted(champions: list[Network]) -> None:
    promoted = []
    for seed, champion in zip(SEEDS, champions, strict=True):
        panel = simulate(seed, changes=True)
        challenger = fit_network(panel, CHANGE, 560, issue_times(566, 590), 60, seed)
        models = {"challenger": challenger, "champion": champion}
        decision = decide(compare(SPEC, panel, issue_times(600, 627), models), 0.0)
        promoted.append((decision.promoted, decision.reason))
    assert sum(right for right, _ in promoted) >= RIGHT, promoted
