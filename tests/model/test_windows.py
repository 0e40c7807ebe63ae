"""Windows contain the values known at their issue time, and no others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest

from model.spec import ModelSpec
from model.windows import build_windows
from tests.support import made

Utc = Callable[..., datetime]


def test_shapes_and_embedding_entries() -> None:
    spec = made.spec(series=("c", "a"))
    panel = made.panel(spec)
    rows, steps = np.array([0, 1, 2]), np.full(3, panel.first + 100)
    inputs = build_windows(spec, panel, rows, steps, panel.grid.start(steps))
    assert inputs.target.shape == (3, 72)
    assert inputs.known_future.shape == (3, 96, 1)
    assert inputs.observed.shape == (3, 72, 1)
    assert inputs.calendar.shape[1:] == (96, 18)
    assert inputs.series.tolist() == [2, 0, 1]  # b is unknown
    np.testing.assert_array_equal(inputs.target[1], panel.target.layers[0].values[1, 28:100])
    np.testing.assert_array_equal(inputs.known_future[2, :, 0], panel.known_future[0].layers[0].values[0, 28:124])


def test_steps_that_are_not_known_yet_are_masked() -> None:
    spec = made.spec()
    panel = made.panel(spec)
    steps = np.array([panel.first + 100])
    # Half past an hour, this hour and the one before are not known yet.
    issues = panel.grid.start(steps) - 3_600_000_000 * 3 // 2
    inputs = build_windows(spec, panel, np.array([0]), steps, issues)
    assert np.isnan(inputs.target[0, -2:]).all()
    assert not np.isnan(inputs.target[0, :-2]).any()
    assert np.isnan(inputs.observed[0, -2:]).all()


def test_window_outside_the_panel_is_an_error() -> None:
    spec = made.spec()
    panel = made.panel(spec)
    with pytest.raises(IndexError):
        build_windows(spec, panel, np.array([0]), np.array([panel.first + 71]), np.array([0]))


def test_spec_is_read_from_its_json() -> None:
    spec = made.spec(series=("ä", "<b>"))
    assert ModelSpec.from_json(spec.to_json()) == spec
    difference = spec.first_difference(made.spec(horizon=48))
    assert difference == "horizon is 24 in the model and 48 in the pipeline"
    assert spec.first_difference(made.spec(hidden_size=99, series=())) is None
