"""Scattering of history tables onto panels, with and without revisions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from model.panel import Panel
from model.scatter import PanelLayout, scatter_channels
from model.timegrid import TimeGrid
from model.windows import build_windows
from tests.support import made
from tests.support.made import hourly

Utc = Callable[..., datetime]


@pytest.mark.parametrize("change", ["none", "gap", "shifted times", "other order", "unknown series", "outside"])
def test_reshaping_equals_scattering(utc: Utc, change: str) -> None:
    grid, start, names = TimeGrid("1h", "UTC", None), utc(2018, 1, 1), ("a", "b", "c")
    values = np.random.default_rng(2).normal(size=(3, 30))
    parts = [hourly(start, row, name) for name, row in zip(names, values, strict=True)]
    if change == "gap":
        parts[1] = pl.concat([parts[1].head(10), parts[1].tail(19)])
    if change == "shifted times":
        parts[1] = parts[1].with_columns(pl.col("valid_time") + timedelta(hours=1))
    if change == "other order":
        parts.reverse()
    if change == "unknown series":
        parts[2] = parts[2].with_columns(series_id=pl.lit("x"))
    frame = pl.concat(parts).select("series_id", "valid_time", "y")
    first = grid.first_step(int(start.timestamp()) * 1_000_000) + (5 if change == "outside" else -5)
    layout = PanelLayout(grid, names, first, 40)
    grouped_channel, channel = (scatter_channels(layout, frame, ["y"], grouped)[0] for grouped in (True, False))
    assert grouped_channel.layers[0].available is None
    np.testing.assert_array_equal(grouped_channel.layers[0].values, channel.layers[0].values)
    if change == "none":
        np.testing.assert_array_equal(grouped_channel.layers[0].values[:, 5:35], values.astype(np.float32))


def test_revisions_are_visible_from_their_availability_on(utc: Utc) -> None:
    """At any issue time, a window of all revisions equals a window of the as-of view."""
    spec = made.spec(known_future=(), observed=())
    grid = TimeGrid("1h", "Europe/Madrid", "ES")
    start = utc(2018, 3, 1)
    rng = np.random.default_rng(1)
    table = hourly(start, rng.normal(size=120))
    first_revision = table.filter(pl.Series(rng.random(120) < 0.3)).with_columns(
        available_at=pl.col("available_at") + pl.duration(hours=30), y=pl.col("y") + 1
    )
    second_revision = first_revision.head(10).with_columns(
        available_at=pl.col("available_at") + pl.duration(hours=9), y=pl.lit(None, pl.Float64)
    )
    revisions = pl.concat([table, first_revision, second_revision]).sort("available_at", maintain_order=True)
    first = int(grid.index(np.array([int(start.timestamp() * 1e6)]))[0])

    def target_window(frame: pl.DataFrame, hour: int) -> np.ndarray:
        (target,) = scatter_channels(PanelLayout(grid, ("a",), first, 140), frame, ["y"])
        panel = Panel(grid, ("a",), first, target, (), ())
        steps = np.array([first + hour])
        return build_windows(spec, panel, np.array([0]), steps, grid.start(steps)).target

    for hour in range(72, 116):
        issue_time = start + timedelta(hours=hour)
        known = revisions.filter(pl.col("available_at") <= issue_time).unique(
            "valid_time", keep="last", maintain_order=True
        )
        np.testing.assert_array_equal(target_window(revisions, hour), target_window(known.drop("available_at"), hour))
