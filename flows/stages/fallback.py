"""Fallback order of a forecast, applied to each series by itself: champion, predecessor, baseline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from flows.settings.pipeline import Pipeline
from flows.stages.advisory_steps import AdvisorySteps
from flows.stages.loaded_models import LoadedModel, ModelChain
from flows.stages.nightly_fit import NightlyFit
from flows.stages.panels import to_micros
from model.checks.forecasts import find_faults
from model.panel import Panel
from model.windows import build_windows
from storage.errors import first_line
from storage.schemas import BASELINE, MODEL, STALE_MODEL, DataError
from storage.schemas.attempts import Failed, attempt

logger = logging.getLogger(__name__)

_MODELS_TRIED = 2  # the champion and its predecessor


def no_deadline() -> bool:
    """Return True: without a deadline, time is always left."""
    return True


@dataclass(frozen=True)
class FallbackOrder:
    """Models to try for each series, and the reasons of rows that are not the champion's.

    Attributes:
        models: Models by preference, the champion first.
        no_model_reason: Reason of baseline rows where there is no model to try, None if there is one.
        stale_reason: Reason why even the champion's rows are stale, None if they are not.
        has_time: Function that returns False once the remaining rows must come from the baseline.
        failed_feeds: Error by feed of which the last ingest failed. Its series are stale if they lack due values.
        steps: Steps that may fail, with their failures.
    """

    models: ModelChain
    no_model_reason: str | None = None
    stale_reason: str | None = None
    has_time: Callable[[], bool] = no_deadline
    failed_feeds: Mapping[str, str] = field(default_factory=dict)
    steps: AdvisorySteps = field(default_factory=AdvisorySteps)


@dataclass
class FallbackResult:
    """Forecasts of S series by the models, with the source of each.

    Attributes:
        values: Quantiles, then the probabilities of `forecast.above`, shape (S, H, Q + X). NaN where no model could
            forecast.
        status: Status of each series as in the forecast file, shape (S,). It is `baseline` where no model could.
        reason: Why a series is not the champion's, None if it is, shape (S,).
        version: Version of the model, None for the baseline, shape (S,).
        first_model: First model that was tried, None without any.
    """

    values: np.ndarray
    status: np.ndarray
    reason: np.ndarray
    version: np.ndarray
    first_model: LoadedModel | None = None


def forecast_with_fallback(settings: Pipeline, order: FallbackOrder, panel: Panel, fit: NightlyFit) -> FallbackResult:
    """Forecast every series of `panel` (S series) by the first model that can.

    Args:
        settings: Settings of the pipeline.
        order: Models to try.
        panel: As-of view of the issue time.
        fit: Fit of the linear expert for the issue time of the forecast.
    """
    count = len(panel.series)
    columns = len(settings.pipeline.quantile_levels) + len(settings.forecast.above)
    result = FallbackResult(
        np.full((columns, count, settings.pipeline.horizon), np.nan).transpose(1, 2, 0),
        np.full(count, BASELINE, object),
        np.full(count, order.no_model_reason, object),
        np.full(count, None, object),
    )
    remaining = np.arange(count)
    for tried, model in enumerate(order.models):
        if tried == _MODELS_TRIED or not len(remaining):
            break
        result.first_model = result.first_model or model
        values, faults = _forecast_rows(settings, model, fit, panel, remaining, order.has_time)
        usable = faults == ""
        rows = remaining[usable]
        reasons = [result.reason[row] or model.stale_reason or order.stale_reason for row in rows]
        if len(rows) == count:
            result.values = values
        else:
            result.values[rows] = values[usable]
        result.status[rows] = [STALE_MODEL if reason else MODEL for reason in reasons]
        result.reason[rows] = reasons
        result.version[rows] = model.version
        remaining, faults = remaining[~usable], faults[~usable]
        for row, fault in zip(remaining, faults, strict=True):
            # The champion's fault is the cause. A fault of its predecessor only explains the next step.
            result.reason[row] = result.reason[row] or fault
    if settings.forecast.on_failure == "error":
        _require_models(settings, panel, remaining, result)
    return result


def _require_models(settings: Pipeline, panel: Panel, rows: np.ndarray, result: FallbackResult) -> None:
    """Raise DataError if one of the series at `rows`, which no model forecast, has enough values for a model."""
    context, spec = panel.target.layers[0].values[:, : settings.pipeline.context], settings.spec()
    visible = (~np.isnan(context)).sum(axis=1)
    failed = [row for row in rows if visible[row] >= spec.min_visible]
    if failed:
        raise DataError(
            f'pipeline {settings.name!r}: forecast.on_failure = "error" and no model could forecast {len(failed)} '
            f"series, such as {panel.series[failed[0]]!r}: {result.reason[failed[0]]}. Nothing is published. To "
            "train a model, run `gatecast train`."
        )


def _forecast_rows(
    settings: Pipeline, model: LoadedModel, fit: NightlyFit, panel: Panel, rows: np.ndarray,
    has_time: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Forecast the series at `rows` (R rows of the panel) by one model.

    Returns:
        Quantiles and probabilities, shape (R, H, Q + X), and the fault of each row, shape (R,), '' if it has none.
    """
    # ONNX Runtime has an exception class of its own for every fault.
    result = attempt(partial(_forecast_by_model, settings, model, fit, panel, rows, has_time))
    if not isinstance(result, Failed):
        return result
    logger.warning("Model %s cannot run: %s.", model.version, result.text)
    columns = len(settings.pipeline.quantile_levels) + len(settings.forecast.above)
    empty = np.full((len(rows), settings.pipeline.horizon, columns), np.nan)
    return empty, np.full(len(rows), f"model {model.version} cannot run: {first_line(result.error)}", object)


def _forecast_by_model(
    settings: Pipeline, model: LoadedModel, fit: NightlyFit, panel: Panel, rows: np.ndarray,
    has_time: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the result of `_forecast_rows`. Any error means that the model cannot run."""
    spec, above, bounds = model.forecaster.spec, settings.forecast.above, settings.pipeline.bounds
    issue = to_micros(fit.issue_time)
    first_step = settings.grid.first_step(issue)
    inputs = build_windows(spec, panel, rows, np.full(len(rows), first_step), np.full(len(rows), issue))
    visible = (~np.isnan(inputs.target)).sum(axis=1)
    values = fit.apply(model).forecast(inputs, above, has_time)
    faults = find_faults(values[..., : len(spec.levels)], bounds.min, bounds.max)
    is_missing = np.isnan(values).all(axis=(1, 2))
    if is_missing.any() and not has_time():
        faults[is_missing] = "the deadline came before the model had forecast this series"
    has_too_few = visible < spec.min_visible
    faults[has_too_few] = [
        f"only {n} of {spec.context} values of the context were known; the model needs {spec.min_visible}"
        for n in visible[has_too_few]
    ]
    return values, faults
