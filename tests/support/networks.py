"""Small networks, trained for a fixed number of updates."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from model.training.fit import fit
from model.training.network import Ensemble
from tests.support import made

LEVELS = (0.1, 0.25, 0.5, 0.9)


def train(spec, steps_done=60, seed=7):
    source, validation = made.training_data(spec)

    def member(number: int) -> Ensemble:
        ticks = itertools.count()  # a clock that counts calls: so many steps, whatever the machine
        alone = replace(spec, members=1)
        return fit(alone, source, validation, seed + number, steps_done, lambda: next(ticks), lambda done: None)

    members = [member(number) for number in range(spec.members)]
    network = Ensemble(spec, [one.networks[0] for one in members]).eval()
    network.interval_scale.copy_(members[0].interval_scale)
    return network, source.draw(np.random.default_rng(0), 400).windows, validation
