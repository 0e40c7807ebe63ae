"""Training windows: excluded days and windows that are drawn less often with their age."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.panel import Channel, Panel, RevisionLayer
from model.spec import ModelSpec
from model.timegrid import DAY, TimeGrid
from model.training.samples import Sampler, TooLittleHistory, build_sampler

HORIZON, CONTEXT, DAYS = 24, 48, 60
SPEC = ModelSpec(
    frequency="1h", timezone="UTC", holidays=None, horizon=HORIZON, context=CONTEXT, season=24, segment=24,
    levels=(0.1, 0.5, 0.9), lower=None, upper=None, known_future=(), observed=(), head="quantile", cell="lstm",
    hidden_size=4, layers=1, members=1, day_start=0, series=("A",), grid_offset=0,
)  # fmt: skip


def sampler(excluded: np.ndarray | None = None, half_life: int | None = None) -> Sampler:
    values = np.arange(24 * DAYS, dtype=np.float32)[None]
    target = Channel("target", (RevisionLayer(values, None),))
    panel = Panel(TimeGrid("1h", "UTC", None), ("A",), 1000, target, (), ())
    last = panel.first + 24 * DAYS - HORIZON
    return build_sampler(SPEC, panel, last, 0, last, excluded, half_life)


def mask(*days: int) -> np.ndarray:
    return np.isin(np.arange(24 * DAYS) // 24, days)


def test_no_target_touches_an_excluded_day() -> None:
    excluded = mask(20, 21, 40)
    whole, part = sampler(), sampler(excluded)
    assert len(part.starts) == len(whole.starts) - (48 + 23) - (24 + 23)
    # The actual of a step is its number in the panel.
    actual = part.draw(np.random.default_rng(1), 4000).actual.astype(int)
    assert not excluded[actual].any()
    assert {19, 22, 39, 41} <= set(np.unique(actual // 24))


def test_without_the_settings_the_draws_are_as_before() -> None:
    drawn = sampler().draw(np.random.default_rng(1), 50).actual
    pairs = sampler().starts[np.random.default_rng(1).integers(0, len(sampler().starts), 50)]
    is_near = np.abs(drawn[:, 0] - (pairs[:, 1] - 1000)) < 24
    assert is_near.all()


def test_a_window_that_is_a_half_life_older_is_drawn_half_as_often() -> None:
    made = sampler(half_life=10 * DAY)
    steps = made.draw(np.random.default_rng(2), 20_000).actual[:, 0]
    newest = DAYS * 24 - HORIZON
    counts = [
        np.count_nonzero((steps > newest - (age + 10) * 24) & (steps <= newest - age * 24)) for age in (0, 10, 20)
    ]
    assert counts[1] / counts[0] == pytest.approx(0.5, abs=0.05)
    assert counts[2] / counts[0] == pytest.approx(0.25, abs=0.05)


def test_an_exclusion_of_everything_is_too_little_history() -> None:
    with pytest.raises(TooLittleHistory, match="0 training windows"):
        sampler(np.ones(24 * DAYS, bool))


@pytest.mark.parametrize("every, at_all_times", [(24, True), (12, False)])
def test_a_short_history_has_windows_at_all_times_of_day(every: int, at_all_times: bool) -> None:
    """A model with a linear expert learns from windows at the pipeline's issue times, if there are enough of them."""
    values = np.arange(24 * DAYS, dtype=np.float32)[None]
    target = Channel("target", (RevisionLayer(values, None),))
    panel = Panel(TimeGrid("1h", "UTC", None), ("A",), 1000, target, (), ())
    nightly = panel.first + np.arange(0, 24 * DAYS, every)
    last = panel.first + 24 * DAYS - HORIZON
    starts = build_sampler(replace(SPEC, linear=True), panel, last, 0, last, nightly=nightly).starts[:, 1]
    assert (not np.isin(starts, nightly).all()) == at_all_times
