"""Small networks, trained for a fixed number of updates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model.spec import ModelSpec
from model.training.fit import fit
from model.training.network import Ensemble
from model.training.options import FitOptions
from model.training.samples import LabeledWindows
from model.windows import Windows
from tests.support import made

LEVELS = (0.1, 0.25, 0.5, 0.9)


def train(spec: ModelSpec, updates: int = 60, seed: int = 7) -> tuple[Ensemble, Windows, LabeledWindows]:
    """Return a network of members that are trained alone, random windows, and the validation windows."""
    data = made.training_data(replace(spec, members=1))

    def member(number: int) -> Ensemble:
        return fit(data, FitOptions(seed + number, max_updates=updates))

    members = [member(number) for number in range(spec.members)]
    network = Ensemble(spec, [one.networks[0] for one in members]).eval()
    network.interval_scale.copy_(members[0].interval_scale)
    return network, data.source.draw(np.random.default_rng(0), 400).windows, data.validation
