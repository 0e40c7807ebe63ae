"""Training data: newest values that a forecast leaves out are not held-out actuals either."""

from __future__ import annotations

import numpy as np

from flows.stages.training_data import without_implausible_newest
from model.panel import NEVER, Channel, Panel, RevisionLayer
from model.timegrid import TimeGrid

GRID = TimeGrid("1h", "UTC", None)


def test_implausible_newest_values_are_left_out_of_a_training() -> None:
    hours = 24 * 28
    load = np.tile(1000 + 300 * np.sin(np.arange(hours) / 24 * 2 * np.pi), (2, 1)).astype(np.float32)
    first, revised = load.copy(), np.full_like(load, np.nan)
    first[0, -1] = 1e9
    # A slip that was corrected is no longer the newest revision.
    first[1, -2], revised[1, -2] = 1e9, 1000
    known = np.tile(GRID.end(np.arange(hours)), (2, 1))
    layers = (
        RevisionLayer(first, known),
        RevisionLayer(revised, np.where(np.isnan(revised), NEVER, known + 3_600_000_000)),
    )
    panel = Panel(GRID, ("a", "b"), 0, Channel("target", layers), (), ())
    kept = without_implausible_newest(panel).target.final(np.arange(2), np.zeros(2, np.int64), hours)
    assert np.argwhere(np.isnan(kept)).tolist() == [[0, hours - 1]]
    assert kept[1, -2] == 1000
    plausible = Panel(GRID, ("a", "b"), 0, Channel("target", (RevisionLayer(load, known),)), (), ())
    assert without_implausible_newest(plausible) is plausible
