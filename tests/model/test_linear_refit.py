"""Fit of a file's linear expert on newer data by ONNX Runtime: equal to the training's, by series, without leaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from model.evaluation.comparison import IssueTimes
from model.forecaster import Forecaster
from model.linear_contributions import covariate_responses, linear_contributions
from model.linear_expert import LINEAR_TABLES
from model.linear_refit import refit_linear
from model.panel import Channel, Panel, RevisionLayer
from model.training import linear_fit
from model.training.devices import to_tensors
from model.training.export import from_onnx, to_onnx, verify_export, with_tables
from model.training.linear_fit import FittedLinear, fit_linear_expert
from model.training.network import Ensemble, linear_outputs, linear_tables, untrained_network
from model.training.samples import LabeledWindows, make_batch
from model.training.statistics import covariate_statistics
from tests.support import made

pytestmark = pytest.mark.training

SPEC = made.spec(linear=True, lower=None, context=72)
COEFFICIENTS = LINEAR_TABLES["coefficients"]
DAYS = 120


@dataclass(frozen=True)
class Fitted:
    """A file whose linear expert is fitted on the first days of a panel."""

    panel: Panel
    content: bytes
    network: Ensemble
    linear: FittedLinear


def issue_times(panel: Panel, first_day: int, end_day: int) -> IssueTimes:
    steps = panel.first + 24 * np.arange(first_day, end_day)
    return IssueTimes(panel.grid.start(steps), steps)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    panel = made.panel(SPEC, columns=24 * (DAYS + 2))
    past = issue_times(panel, 3, 80)
    linear = fit_linear_expert(SPEC, panel, past.steps, past.issues)
    network = untrained_network(SPEC)
    network = Ensemble(SPEC, network.networks, linear.expert).eval()
    linear.expert.share.fill_(0.3)
    return Fitted(panel, to_onnx(network), network, linear)


def windows(fitted: Fitted) -> LabeledWindows:
    steps = np.repeat(fitted.panel.first + 24 * np.arange(100, 110), 3)
    return make_batch(SPEC, fitted.panel, np.tile(np.arange(3), 10), steps, fitted.panel.grid.start(steps))


def test_the_file_computes_what_the_network_computes(fitted: Fitted) -> None:
    assert verify_export(fitted.network, fitted.content, windows(fitted).windows) < 1e-5
    read = from_onnx(fitted.content, SPEC)
    assert read is not None
    state = read.state_dict()
    assert [name for name, value in fitted.network.state_dict().items() if not (state[name] == value).all()] == []


def test_covariates_of_any_size_lose_no_digits_in_the_file() -> None:
    """A covariate of each series' own is standardised by series, and one that hardly varies has no coefficient."""
    panel = made.panel(SPEC, columns=24 * (DAYS + 2))
    (temperature,) = panel.known_future
    values = temperature.layers[0].values.repeat(3, axis=0)
    values = (values - values.mean()) * np.array([[1.0], [1e-4], [1e4]]) + np.array([[-2.0], [0.5], [9e4]])
    values[:, ::24] = values[:, :1] + np.array([[1e-3], [1e-7], [10.0]]) * (np.arange(values.shape[1] // 24) % 2)
    layer = RevisionLayer(values.astype(np.float32), temperature.layers[0].available)
    panel = replace(panel, known_future=(Channel("temperature", (layer,)),))
    past = issue_times(panel, 3, 80)
    linear = fit_linear_expert(SPEC, panel, past.steps, past.issues)
    assert linear.expert.coefficients[1:, :, :-1].abs().max() < 10
    network = Ensemble(SPEC, untrained_network(SPEC).networks, linear.expert).eval()
    linear.expert.share.fill_(1.0)
    steps = np.repeat(past.steps, 3)
    sample = make_batch(SPEC, panel, np.tile(np.arange(3), len(past)), steps, panel.grid.start(steps))
    assert verify_export(network, to_onnx(network), sample.windows) < 2e-6


def test_another_scaling_changes_only_the_features_of_the_target(fitted: Fitted) -> None:
    sample, expert = windows(fitted), fitted.linear.expert
    statistics = covariate_statistics(sample.windows)
    first, *others = (linear_fit._scaling(sample.actual, *choice, statistics) for choice in linear_fit._SCALINGS)
    design = linear_fit._design(expert, sample, first)
    for scaling in others:
        anew, rescaled = (
            linear_fit._design(expert, sample, scaling), linear_fit._rescaled(expert, sample, scaling, design)
        )  # fmt: skip
        assert (rescaled.features == anew.features).all() and (rescaled.window == anew.window).all()


def test_the_same_data_give_the_coefficients_of_the_training(fitted: Fitted) -> None:
    forecaster = Forecaster(fitted.content)
    past = issue_times(fitted.panel, 3, 80)
    refit = refit_linear(forecaster, fitted.panel, past, int(fitted.panel.grid.start(past.steps[-1:] + 24)[0]))
    assert refit is not None and refit.digests.keys() == {"a", "b", "c"}
    before = forecaster.tables()
    for name in ("coefficients", "residuals"):
        assert np.allclose(refit.tables[LINEAR_TABLES[name]], before[LINEAR_TABLES[name]], rtol=1e-3, atol=1e-4)


def test_newer_data_improve_the_forecast_and_serve_as_defaults(fitted: Fitted) -> None:
    changed = _with_target(fitted.panel, lambda values: values * np.where(np.arange(values.shape[1]) < 80 * 24, 1, 1.5))
    instant = int(fitted.panel.grid.start(np.array([fitted.panel.first + 24 * 110]))[0])
    forecaster = Forecaster(fitted.content)
    refit = refit_linear(forecaster, changed, issue_times(changed, 3, 110), instant)
    assert refit is not None
    batch = windows(replace(fitted, panel=changed))
    newest = forecaster.with_tables(refit.tables)
    median = SPEC.levels.index(0.5)
    errors = [
        np.abs(one.quantiles(batch.windows)[..., median] - batch.actual)[::3].mean() for one in (newest, forecaster)
    ]
    assert errors[0] < errors[1]
    written = Forecaster(with_tables(fitted.content, refit.tables))
    assert np.array_equal(written.quantiles(batch.windows), newest.quantiles(batch.windows))


def test_values_after_the_issue_time_do_not_matter(fitted: Fitted) -> None:
    forecaster, past = Forecaster(fitted.content), issue_times(fitted.panel, 3, 101)
    instant = int(past.issues[-1])
    begin = 24 * 100
    future = _with_target(fitted.panel, lambda values: np.where(np.arange(values.shape[1]) < begin, values, -9.0))
    refits = [refit_linear(forecaster, panel, past, instant) for panel in (fitted.panel, future)]
    assert refits[0] is not None and refits[1] is not None
    assert refits[0].digests == refits[1].digests


def test_a_series_is_fitted_by_itself(fitted: Fitted) -> None:
    forecaster, past = Forecaster(fitted.content), issue_times(fitted.panel, 3, 100)
    instant = int(past.issues[-1])
    together = refit_linear(forecaster, fitted.panel, past, instant)
    assert together is not None
    for row, name in enumerate(fitted.panel.series):
        alone = refit_linear(forecaster, fitted.panel.take(np.array([row])), past, instant)
        assert alone is not None and alone.digests == {name: together.digests[name]}


def test_too_few_windows_keep_the_tables_of_the_file(fitted: Fitted) -> None:
    past = issue_times(fitted.panel, 3, 40)
    assert refit_linear(Forecaster(fitted.content), fitted.panel, past, int(past.issues[-1])) is None


def test_a_series_that_begins_late_leaves_the_coefficients_of_new_series_as_they_are() -> None:
    panel = made.panel(SPEC, columns=24 * (DAYS + 2))
    past = issue_times(panel, 3, DAYS)
    values = panel.target.layers[0].values.copy()
    values[0, : 24 * 60] = np.nan
    # A meter that stands still has no scale either.
    values[1, 24 * 30 : 24 * 40] = values[1, 24 * 30]
    layer = RevisionLayer(values, panel.target.layers[0].available)
    late = replace(panel, target=Channel("target", (layer,)))
    complete, own = (fit_linear_expert(SPEC, one, past.steps, past.issues).expert for one in (panel, late))
    assert own.coefficients[0].abs().max() < 2 * complete.coefficients[0].abs().max()
    steps = panel.first + 24 * np.arange(100, 110)
    sample = make_batch(SPEC, late, np.zeros(10, np.int64), steps, panel.grid.start(steps))
    as_new = replace(sample.windows, series=np.zeros(10, sample.windows.series.dtype))
    forecast = linear_outputs(own, **to_tensors(as_new), **linear_tables(own))[1].numpy()
    assert np.abs(forecast - sample.actual).mean() < sample.actual.std()


def test_no_window_of_a_batch_depends_on_the_others(fitted: Fitted) -> None:
    forecaster, batch = Forecaster(fitted.content), windows(fitted).windows
    together = forecaster.quantiles(batch)
    alone = np.concatenate([forecaster.quantiles(batch[np.array([row])]) for row in range(len(batch))])
    assert np.array_equal(together, alone)


def test_without_covariates_and_half_the_context_a_forecast_remains(fitted: Fitted) -> None:
    batch = windows(fitted).windows
    target, known = batch.target.copy(), np.full_like(batch.known_future, np.nan)
    target[:, :36] = np.nan
    quantiles = Forecaster(fitted.content).quantiles(replace(batch, target=target, known_future=known))
    assert np.isfinite(quantiles).all() and (np.diff(quantiles, axis=2) >= 0).all()


def test_left_out_forecasts_are_worse_than_those_in_the_sample(fitted: Fitted) -> None:
    past = issue_times(fitted.panel, 3, 80)
    batch = make_batch(SPEC, fitted.panel, np.zeros(len(past), int), past.steps, past.issues)
    linear, entry = fitted.linear, fitted.network.spec.entries["a"]
    design, window = _design(Forecaster(fitted.content), batch)
    errors = []
    for table in (linear.expert.coefficients[entry][None].numpy(), _left_out(linear, entry, past.steps)):
        scaled = (table[..., :-1] * design[:, 0, None]).sum(-1) + table[..., -1]
        errors.append(np.abs(window[:, :1] + window[:, 1:] * scaled - batch.actual).mean())
    if not linear.expert.scaling[entry, 2]:
        assert errors[0] < errors[1]


def _left_out(linear: FittedLinear, entry: int, steps: np.ndarray) -> np.ndarray:
    import torch

    tables = linear.left_out_tables(torch.full((len(steps),), entry), steps)
    coefficients: np.ndarray = tables["coefficients"].numpy()
    return coefficients


def _design(forecaster: Forecaster, batch: LabeledWindows) -> tuple[np.ndarray, np.ndarray]:
    return forecaster.design(batch.windows)


def _with_target(panel: Panel, change: Callable[[np.ndarray], np.ndarray]) -> Panel:
    (layer,) = panel.target.layers
    values = change(layer.values).astype(np.float32)
    return replace(panel, target=Channel("target", (RevisionLayer(values, layer.available),)))


def linear_only(fitted: Fitted) -> Forecaster:
    """Return the fitted model with a fixed scale and no transform, so that the expert adds terms of single inputs."""
    forecaster = Forecaster(fitted.content)
    tables = forecaster.tables()
    scaling = tables[LINEAR_TABLES["scaling"]].copy()
    scaling[:, :3] = [50.0, 10.0, 0.0]
    return forecaster.with_tables({**tables, LINEAR_TABLES["scaling"]: scaling})


def test_contributions_add_up_to_the_difference_from_the_reference(fitted: Fitted) -> None:
    forecaster, window = linear_only(fitted), windows(fitted).windows[:1]
    found = linear_contributions(forecaster, window)
    assert found is not None
    np.testing.assert_array_equal(found.forecast, forecaster.outputs(window, ["linear_forecast"])[0][0])
    assert set(found.days) <= {1, 2, 3} and 1 in found.days
    assert list(found.covariates) == [*SPEC.known_future, *SPEC.observed]
    assert np.abs(found.remainder).max() < 1e-4 * np.abs(found.forecast).max()
    assert np.abs(found.covariates[SPEC.known_future[0]]).max() > 1e-3 * np.abs(found.forecast).max()


def test_an_input_at_its_reference_value_contributes_nothing(fitted: Fitted) -> None:
    forecaster, window = linear_only(fitted), windows(fitted).windows[:1]
    day = SPEC.grid.steps_per_day
    flat = np.tile(window.target[:, -day:], SPEC.context // day)
    found = linear_contributions(forecaster, replace(window, target=flat))
    assert found is not None and found.days == {}


def test_a_model_without_an_expert_has_no_contributions(fitted: Fitted) -> None:
    forecaster = Forecaster(fitted.content)
    forecaster.spec = replace(SPEC, linear=False)
    assert linear_contributions(forecaster, windows(fitted).windows[:1]) is None


def test_a_response_is_the_change_of_the_median_at_a_covariate_higher_by_one(fitted: Fitted) -> None:
    forecaster, window = Forecaster(fitted.content), windows(fitted).windows[:1]
    before, known = forecaster.quantiles(window), window.known_future.copy()
    name = SPEC.known_future[0]
    higher = known.copy()
    higher[:, SPEC.context :, 0] += 1
    median = SPEC.levels.index(0.5)
    expected = (forecaster.quantiles(replace(window, known_future=higher)) - before)[0, :, median]
    np.testing.assert_array_equal(covariate_responses(forecaster, window)[name], expected)
    np.testing.assert_array_equal(window.known_future, known)
    known[:, SPEC.context :, 0] = np.nan
    assert name not in covariate_responses(forecaster, replace(window, known_future=known))
