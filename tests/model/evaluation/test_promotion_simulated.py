"""Does the gate tell an overfitted challenger from a better one? Real networks, twenty seeds each way.

Daily series driven by a temperature. The overfitted challenger is fitted and early-stopped on the very nights that a
careless gate would judge it by. The better one is fitted after the temperature's effect turned round; the champion was
fitted before.
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

# The timeout is generous: this takes a minute and a half of one core, of which a busy machine gives less.
pytestmark = [pytest.mark.training, pytest.mark.timeout(1800)]

SEEDS = range(20)
RIGHT = 19
FIRST, DAYS, TURN = 15_000, 700, 300
GRID = TimeGrid("1d", "UTC", None)
SPEC = ModelSpec(
    frequency="1d", timezone="UTC", holidays=None, horizon=3, context=28, season=7, segment=7,
    levels=(0.1, 0.3, 0.5, 0.7, 0.9), lower=None, upper=None, known_future=("temperature",), observed=(),
    head="quantile", cell="lstm", hidden_size=16, layers=1, members=1, series=("a", "b", "c"),
)  # fmt: skip


class Network:
    """A fitted network, asked by torch: that ONNX Runtime gives the same is proven elsewhere, at seconds a model."""

    def __init__(self, network: Ensemble) -> None:
        self.spec, self.network = network.spec, network

    def quantiles(self, windows: Windows) -> np.ndarray:
        days = np.repeat(windows.calendar, len(windows) // len(windows.calendar), axis=0)
        with torch.inference_mode():
            return self.network(**to_tensors(replace(windows, calendar=days))).numpy().astype(np.float64)


def simulated(seed: int, turns: bool) -> Panel:
    """A week's shape, noise, and a temperature whose effect turns round on day TURN if it `turns`."""
    random = np.random.default_rng(seed)
    temperature = np.zeros(DAYS)
    for day in range(1, DAYS):
        temperature[day] = 0.8 * temperature[day - 1] + random.normal()
    effect = np.where(turns & (np.arange(DAYS) >= TURN), -0.7, 0.7)
    week = 8 + 2 * np.sin(2 * np.pi * np.arange(DAYS) / 7)
    scale = np.array([[10.0], [15.0], [20.0]])
    target = scale * (week + effect * temperature + 0.7 * random.normal(size=(3, DAYS)))
    known = np.tile(GRID.end(FIRST + np.arange(DAYS)), (3, 1))
    return Panel(
        GRID, SPEC.series, FIRST, Channel("target", (RevisionLayer(target.astype(np.float32), known),)),
        (Channel("temperature", (RevisionLayer(temperature[None].astype(np.float32), None),)),), (),
    )  # fmt: skip


def nights(first: int, last: int) -> IssueTimes:
    """Nights issued at the beginning of days `first` to `last`, both included."""
    steps = FIRST + np.arange(first, last + 1)
    return IssueTimes(GRID.start(steps), steps)


def fitted(panel: Panel, first: int, last: int, stop: IssueTimes, steps: int, seed: int) -> Network:
    """Fitted on forecasts that begin on days `first` to `last`, stopped early on `stop`, for so many steps at most."""
    source = build_sampler(SPEC, panel, FIRST + last, 0, 0)
    source = replace(source, first=FIRST + first, starts=source.starts[source.starts[:, 1] >= FIRST + first])
    validation = make_batch(SPEC, panel, *stop.window_keys(panel))
    # Waiting for a second thread on a busy machine makes products of this size ten times slower.
    options = FitOptions(seed, max_updates=steps, threads=1)
    return Network(fit(TrainingData(source, validation), options))


@pytest.fixture(scope="module")
def champions() -> list[Network]:
    """A champion for each seed, fitted before the day on which the world may turn."""
    stop = nights(TURN - 27, TURN - 4)
    return [fitted(simulated(seed, turns=False), 28, TURN - 30, stop, 130, seed) for seed in SEEDS]


def test_an_overfitted_challenger_is_refused(champions):
    refused, fooled = [], 0
    for seed, champion in zip(SEEDS, champions, strict=True):
        panel, evaluation = simulated(seed, turns=False), nights(600, 609)
        overfitted = fitted(panel, 600, 609, evaluation, 200, seed + 100)
        models = {"challenger": overfitted, "champion": champion}
        fooled += decide(compare(SPEC, panel, evaluation, models), 0.0).promoted
        decision = decide(compare(SPEC, panel, nights(616, 643), models), 0.0)
        refused.append((not decision.promoted, decision.reason))
    # On the nights that it was fitted on it would have won nearly always: what refuses it is that they do not count.
    assert fooled >= RIGHT
    assert sum(right for right, _ in refused) >= RIGHT, refused


def test_a_better_challenger_is_promoted(champions):
    promoted = []
    for seed, champion in zip(SEEDS, champions, strict=True):
        panel = simulated(seed, turns=True)
        challenger = fitted(panel, TURN, 560, nights(566, 590), 60, seed)
        models = {"challenger": challenger, "champion": champion}
        decision = decide(compare(SPEC, panel, nights(600, 627), models), 0.0)
        promoted.append((decision.promoted, decision.reason))
    assert sum(right for right, _ in promoted) >= RIGHT, promoted
