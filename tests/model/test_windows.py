"""Windows see what was known at their issue time, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from model.scatter import PanelLayout, scatter_channels
from model.spec import ModelSpec
from model.timegrid import TimeGrid
from model.windows import build_windows
from tests.support import made
from tests.support.made import hourly

FIRST = 420_000


def test_shapes_and_identity():
    spec = made.spec(series=("c", "a"))
    panel = made.panel(spec)
    rows, steps = np.array([0, 1, 2]), np.full(3, panel.first + 100)
    seen = build_windows(spec, panel, rows, steps, panel.grid.start(steps))
    assert seen.target.shape == (3, 72)
    assert seen.known_future.shape == (3, 96, 1)
    assert seen.observed.shape == (3, 72, 1)
    assert seen.calendar.shape[1:] == (96, 18)
    assert seen.series.tolist() == [2, 0, 1]  # b is unknown
    np.testing.assert_array_equal(seen.target[1], panel.target.layers[0].values[1, 28:100])
    np.testing.assert_array_equal(seen.known_future[2, :, 0], panel.known_future[0].layers[0].values[0, 28:124])


def test_steps_not_known_yet_are_masked():
    spec = made.spec()
    panel = made.panel(spec)
    steps = np.array([panel.first + 100])
    # Issued at half past: the hour that contains the issue time, and the one before it, start to be known later.
    issues = panel.grid.start(steps) - 3_600_000_000 * 3 // 2
    seen = build_windows(spec, panel, np.array([0]), steps, issues)
    assert np.isnan(seen.target[0, -2:]).all()
    assert not np.isnan(seen.target[0, :-2]).any()
    assert np.isnan(seen.observed[0, -2:]).all()


def test_a_window_outside_the_panel_is_an_error():
    spec = made.spec()
    panel = made.panel(spec)
    with pytest.raises(IndexError):
        build_windows(spec, panel, np.array([0]), np.array([panel.first + 71]), np.array([0]))


@pytest.mark.parametrize(
    "spoilt", ["nothing", "a gap", "a clock of its own", "another order", "one unknown", "outside"]
)
def test_a_table_without_gaps_is_reshaped_to_what_scattering_it_gives(utc, spoilt):
    grid, start, names = TimeGrid("1h", "UTC", None), utc(2018, 1, 1), ("a", "b", "c")
    values = np.random.default_rng(2).normal(size=(3, 30))
    parts = [hourly(start, row, name) for name, row in zip(names, values, strict=True)]
    if spoilt == "a gap":
        parts[1] = pl.concat([parts[1].head(10), parts[1].tail(19)])
    if spoilt == "a clock of its own":
        parts[1] = parts[1].with_columns(pl.col("valid_time") + timedelta(hours=1))
    if spoilt == "another order":
        parts.reverse()
    if spoilt == "one unknown":
        parts[2] = parts[2].with_columns(series_id=pl.lit("x"))
    frame = pl.concat(parts).select("series_id", "valid_time", "y")
    first = grid.first_step(int(start.timestamp()) * 1_000_000) + (5 if spoilt == "outside" else -5)
    layout = PanelLayout(grid, names, first, 40)
    quick, slow = (scatter_channels(layout, frame, ["y"], grouped)[0] for grouped in (True, False))
    assert quick.layers[0].available is None
    np.testing.assert_array_equal(quick.layers[0].values, slow.layers[0].values)
    if spoilt == "nothing":
        np.testing.assert_array_equal(quick.layers[0].values[:, 5:35], values.astype(np.float32))


def test_revisions_are_seen_from_their_own_time_on(utc):
    """A window of the panel of all revisions equals the window of the as-of view alone, at any issue time."""
    spec = made.spec(known_future=(), observed=())
    grid = TimeGrid("1h", "Europe/Madrid", "ES")
    start = utc(2018, 3, 1)
    rng = np.random.default_rng(1)
    table = hourly(start, rng.normal(size=120))
    late = table.filter(pl.Series(rng.random(120) < 0.3)).with_columns(
        available_at=pl.col("available_at") + pl.duration(hours=30), y=pl.col("y") + 1
    )
    later = late.head(10).with_columns(
        available_at=pl.col("available_at") + pl.duration(hours=9), y=pl.lit(None, pl.Float64)
    )
    revisions = pl.concat([table, late, later]).sort("available_at", maintain_order=True)
    first = int(grid.index(np.array([int(start.timestamp() * 1e6)]))[0])

    def seen(frame: pl.DataFrame, hour: int) -> np.ndarray:
        (target,) = scatter_channels(PanelLayout(grid, ("a",), first, 140), frame, ["y"])
        panel = made.Panel(grid, ("a",), first, target, (), ())
        steps = np.array([first + hour])
        return build_windows(spec, panel, np.array([0]), steps, grid.start(steps)).target

    for hour in range(72, 116):
        at = start + timedelta(hours=hour)
        known = revisions.filter(pl.col("available_at") <= at).unique("valid_time", keep="last", maintain_order=True)
        np.testing.assert_array_equal(seen(revisions, hour), seen(known.drop("available_at"), hour))


def test_spec_round_trip():
    spec = made.spec(series=("ä", "<b>"))
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert "horizon is 24 in the model and 48" in spec.first_difference(made.spec(horizon=48))
    assert spec.first_difference(made.spec(hidden_size=99, series=())) is None
