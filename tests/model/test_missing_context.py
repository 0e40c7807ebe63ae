"""Windows of which most of the context is missing: wider intervals that cover their share of the actuals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.evaluation.comparison import IssueTimes
from model.panel import Channel, Panel, RevisionLayer
from model.spec import UNKNOWN, ModelSpec
from model.timegrid import TimeGrid
from model.training.devices import to_tensors
from model.training.features import Features
from model.training.fit import fit
from model.training.linear_fit import fit_linear_expert
from model.training.network import Ensemble
from model.training.options import FitOptions, TrainingData
from model.training.samples import LabeledWindows, augment_missing, build_sampler, make_batch

# The timeout is generous: this takes ten seconds on one free core.
pytestmark = [pytest.mark.training, pytest.mark.timeout(1800)]

FIRST, DAYS, FITTED, STOPPED = 15_000, 700, 500, 560
GRID = TimeGrid("1d", "UTC", None)
SPEC = ModelSpec(
    frequency="1d", timezone="UTC", holidays=None, horizon=3, context=28, season=7, segment=7,
    levels=(0.1, 0.3, 0.5, 0.7, 0.9), lower=None, upper=None, known_future=(), observed=(),
    head="quantile", cell="lstm", hidden_size=16, layers=1, members=1, series=("a", "b", "c"),
)  # fmt: skip
HIDDEN = 20  # of 28 days
Measure = Callable[..., tuple[float, float]]
PLACES = {"oldest": slice(0, HIDDEN), "middle": slice(4, 4 + HIDDEN), "newest": slice(28 - HIDDEN, 28)}


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Return series with a weekly pattern, around a level that changes slowly."""
    random = np.random.default_rng(3)
    level = np.zeros((3, DAYS))
    for day in range(1, DAYS):
        level[:, day] = 0.95 * level[:, day - 1] + random.normal(size=3)
    week = 4 * np.sin(2 * np.pi * np.arange(DAYS) / 7)
    target = np.array([[10.0], [15.0], [20.0]]) * (30 + week + level + 0.7 * random.normal(size=(3, DAYS)))
    known = np.tile(GRID.end(FIRST + np.arange(DAYS)), (3, 1))
    return Panel(
        GRID, SPEC.series, FIRST, Channel("target", (RevisionLayer(target.astype(np.float32), known),)), (), ()
    )


def batch(panel: Panel, first: int, last: int) -> LabeledWindows:
    steps = FIRST + np.arange(first, last)
    return make_batch(SPEC, panel, *IssueTimes(GRID.start(steps), steps).window_keys(panel))


@pytest.fixture(scope="module", params=[False, True], ids=["network", "expert"])
def network(panel: Panel, request: pytest.FixtureRequest) -> Ensemble:
    """Return a network without a linear expert, and one with it."""
    spec = replace(SPEC, linear=request.param)
    source = build_sampler(spec, panel, FIRST + FITTED, 0, 0)
    past = FIRST + np.arange(2 * SPEC.context, FITTED)
    linear = fit_linear_expert(spec, panel, past, GRID.start(past)) if spec.linear else None
    # Waiting for a second thread on a busy machine makes products of this size ten times slower.
    options = FitOptions(7, max_updates=600, threads=1)
    return fit(TrainingData(source, batch(panel, FITTED + 3, STOPPED), linear), options)


@pytest.fixture(scope="module")
def measure(panel: Panel, network: Ensemble) -> Measure:
    """Return a function from the days to hide to the coverage and mean width of the interval from 10% to 90%."""
    data = batch(panel, STOPPED + 3, DAYS - 3)

    def measured(hidden: slice, is_new: bool = False) -> tuple[float, float]:
        target = data.windows.target.copy()
        target[:, hidden] = np.nan
        calendar = np.repeat(data.windows.calendar, len(target) // len(data.windows.calendar), axis=0)
        with torch.inference_mode():
            series = np.full_like(data.windows.series, UNKNOWN) if is_new else data.windows.series
            windows = replace(data.windows, target=target, calendar=calendar, series=series)
            quantiles = network(**to_tensors(windows)).numpy()
        lower, upper = quantiles[..., 0], quantiles[..., -1]
        scale = np.array([10.0, 15.0, 20.0])[np.arange(len(target)) % 3][:, None]
        return ((lower <= data.actual) & (data.actual <= upper)).mean(), ((upper - lower) / scale).mean()

    return measured


@pytest.mark.parametrize("place", PLACES)
def test_a_mostly_missing_context_widens_the_interval(measure: Measure, network: Ensemble, place: str) -> None:
    (complete, width), (coverage, wider) = measure(slice(0)), measure(PLACES[place])
    assert complete > 0.7
    # The expert's forecast is better, but the level of this series drifts more than the interval widens.
    assert coverage > (0.5 if network.linear is not None and place == "newest" else 0.7)
    assert wider > 1.05 * width


def test_the_interval_widens_gradually_as_the_newest_values_are_missing(measure: Measure) -> None:
    widths = [measure(slice(28 - days, 28))[1] for days in (0, 7, 14, 21)]
    assert widths[0] < widths[1] < 1.02 * widths[2] < 1.05 * widths[3]


def test_the_interval_of_a_new_series_covers_its_share(measure: Measure) -> None:
    # These series are alike, so a new one needs no wider interval. It must not be narrower than noise of a fit.
    (coverage, width), (known_coverage, known_width) = measure(slice(0), is_new=True), measure(slice(0))
    assert coverage > max(0.7, known_coverage - 0.05)
    assert width > 0.95 * known_width


def test_the_scale_grows_with_the_missing_share() -> None:
    random = np.random.default_rng(1)
    value = torch.from_numpy(random.normal(100, 10, (50, 28)).astype(np.float32)) + 50 * (torch.arange(28) % 7 == 0)
    features = Features(SPEC)
    _, spread, scale = features.window_statistics(value, torch.ones_like(value))
    assert (scale < spread).any()
    mask = torch.ones_like(value)
    mask[:, :HIDDEN] = 0
    _, spread, scale = features.window_statistics(value * mask, mask)
    assert (scale >= spread * (HIDDEN / 28) ** 2 * 0.999).all()


def test_training_hides_most_of_some_contexts(panel: Panel) -> None:
    windows = build_sampler(SPEC, panel, FIRST + FITTED, 0, 0).draw(np.random.default_rng(1), 2000).windows
    visible = ~np.isnan(augment_missing(np.random.default_rng(2), SPEC, windows).target)
    count = visible.sum(axis=1)
    assert 0.05 < (count <= SPEC.context // 2).mean() < 0.25
    assert (count[~visible[:, -1]] <= SPEC.context // 2).any() and (count[visible[:, -1]] <= SPEC.context // 2).any()
