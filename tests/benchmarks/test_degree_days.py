"""The degree-day regression of the league: it finds a known demand, and uses no value after its issue time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.league import panel, tasks
from benchmarks.league.peers import by_name
from model.timegrid import TimeGrid

DAYS, ISSUES = 900, 100


def make_panel() -> panel.Panel:
    """Return the demand of one series: 50, 4 per degree below 15, 10 less on Sundays, and noise of 1."""
    rng = np.random.default_rng(5)
    grid = TimeGrid("1d", "Europe/Berlin", None)
    days = np.arange(DAYS)
    temperature = 8 - 10 * np.cos(2 * np.pi * days / 365.25) + 3 * rng.standard_normal(DAYS)
    effective = np.empty(DAYS)
    state = temperature.mean()
    for day in days:
        state = 0.5 * state + 0.5 * temperature[day]
        effective[day] = state
    first = 18_000
    sundays = grid.dates(first + days).astype("datetime64[D]").astype(np.int64) % 7 == 3
    demand = 50 + 4 * np.maximum(15 - effective, 0) - 10 * sundays + rng.standard_normal(DAYS)
    origins = np.arange(DAYS - ISSUES - 7, DAYS - 7)
    return panel.Panel(
        task=tasks.by_name("gas-germany"), grid=grid, series=("a",), first=first, target=demand[None],
        known=temperature[None, :, None], names=("temperature",), issues=grid.start(first + origins), origins=origins,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["degree-days", "degree-days-corrected"])
def test_a_known_demand_is_found_without_later_values(name: str) -> None:
    sample, peer = make_panel(), by_name(name)
    settings = peer.settings(sample.task)
    quantiles = peer.forecast(sample, settings)
    assert np.abs(quantiles[..., 4] - sample.actual()).mean() < 1.1  # of a noise whose mean size is 0.8
    covered = (quantiles[..., 0] <= sample.actual()) & (sample.actual() <= quantiles[..., -1])
    assert 0.72 < covered.mean() < 0.9
    hidden = sample.target.copy()
    hidden[:, sample.origins[0] :] = np.nan
    first = replace(sample, target=hidden, origins=sample.origins[:1], issues=sample.issues[:1])
    assert np.array_equal(peer.forecast(first, settings)[:, 0], quantiles[:, 0])


def test_the_correction_continues_the_last_error() -> None:
    """Add 5 to the last days: the corrected forecast of the next day follows, the other one does not."""
    sample = make_panel()
    raised = sample.target.copy()
    raised[:, sample.origins[0] - 60 :] += np.cumsum(np.full(DAYS - sample.origins[0] + 60, 0.2))
    moved = replace(sample, target=raised)
    errors = {
        name: np.abs(
            by_name(name).forecast(moved, by_name(name).settings(moved.task))[..., 0, 4] - raised[:, moved.origins]
        ).mean()
        for name in ("degree-days", "degree-days-corrected")
    }
    assert errors["degree-days-corrected"] < errors["degree-days"] / 2
