"""Fallback order of a forecast, applied to each series by itself: champion, predecessor, baseline."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from flows.settings.pipeline import Pipeline
from flows.stages.panels import to_micros
from model.checks.forecasts import find_faults
from model.forecaster import Forecaster
from model.panel import Panel
from model.windows import build_windows
from storage import registry
from storage.schemas import BASELINE, MODEL, STALE_MODEL, DataError
from storage.store import Store

logger = logging.getLogger(__name__)

_MODELS_TRIED = 2  # the champion and its predecessor


@dataclass(frozen=True)
class LoadedModel:
    """Model that can serve an issue time.

    Attributes:
        forecaster: Model in ONNX Runtime.
        onnx: Content of its file.
        version: Folder under `models/`.
        sha256: Hash of the file.
        stale_reason: Why this model is not the champion, None if it is.
    """

    forecaster: Forecaster
    onnx: bytes
    version: str
    sha256: str
    stale_reason: str | None


class ModelChain:
    """Models of several versions, each loaded once, when the iteration first reaches it.

    A version that cannot serve is skipped with a warning.

    Args:
        settings: Settings of the pipeline.
        store: Store that holds the models.
        versions: Versions by preference, the champion first.
        threads: Threads of each model, by default one per core.
    """

    def __init__(self, settings: Pipeline, store: Store, versions: list[str], threads: int | None = None) -> None:
        self.versions = versions
        self._loaded: list[LoadedModel] = []
        self._errors: list[str] = []
        self._loading = self._load_all(settings, store, threads or os.cpu_count() or 1)

    def __iter__(self) -> Iterator[LoadedModel]:
        position = 0
        while position < len(self._loaded) or self._load_next():
            yield self._loaded[position]
            position += 1

    @property
    def first(self) -> LoadedModel | None:
        """First model that can serve, None if none can."""
        return next(iter(self), None)

    @property
    def error(self) -> str | None:
        """Error of the first version that could not serve, None if every version loaded so far can."""
        return self._errors[0] if self._errors else None

    def _load_next(self) -> bool:
        model = next(self._loading, None)
        if model is not None:
            self._loaded.append(model)
        return model is not None

    def _load_all(self, settings: Pipeline, store: Store, threads: int) -> Iterator[LoadedModel]:
        for version in self.versions:
            try:
                yield _load(settings, store, version, self.error, threads)
            except DataError as error:
                logger.warning("Model %s cannot serve and is skipped: %s.", version, error)
                self._errors.append(str(error))


def load_models(settings: Pipeline, store: Store, issue_time: datetime) -> tuple[ModelChain, str | None]:
    """Load the models that can serve `issue_time`, the champion first.

    Returns:
        At least one model and None, or no model and the reason.
    """
    nothing = ModelChain(settings, store, [])
    try:
        versions = registry.champions(store, settings.name, issue_time)
    except DataError as error:
        return nothing, str(error)
    if not versions:
        later = registry.champions(store, settings.name)
        if later:
            return nothing, f"every champion was trained on data after the issue time {issue_time.isoformat()}"
        return nothing, registry.explain_missing_champion(store, settings.name)
    models = ModelChain(settings, store, versions)
    return (models, None) if models.first else (nothing, models.error)


def load_champion(settings: Pipeline, store: Store, issue_time: datetime) -> tuple[LoadedModel | None, str | None]:
    """Load the champion of `issue_time`, or its newest predecessor that can serve.

    Returns:
        The model and None, or None and the reason.
    """
    models, no_model_reason = load_models(settings, store, issue_time)
    return models.first, no_model_reason


def _load(settings: Pipeline, store: Store, version: str, stale_reason: str | None, threads: int) -> LoadedModel:
    onnx = registry.load(store, settings.name, version)
    try:
        forecaster = Forecaster(onnx, settings.forecast.providers, threads, settings.forecast.strict)
    except ValueError as error:
        raise DataError(f"model {version}: {error}") from None
    if settings.forecast.above and not forecaster.has_probabilities:
        raise DataError(
            f"model {version} has no probabilities, which forecast.above needs: its file is of an older version of "
            "Gatecast; train a new model"
        )
    difference = forecaster.spec.first_difference(settings.spec())
    if difference:
        raise DataError(f"model {version} does not fit the pipeline file: {difference}")
    return LoadedModel(forecaster, onnx, version, hashlib.sha256(onnx).hexdigest(), stale_reason)


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
    """

    models: ModelChain
    no_model_reason: str | None = None
    stale_reason: str | None = None
    has_time: Callable[[], bool] = no_deadline


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


def forecast_with_fallback(
    settings: Pipeline, order: FallbackOrder, panel: Panel, issue_time: datetime
) -> FallbackResult:
    """Forecast every series of `panel` (S series) by the first model that can."""
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
        values, faults = _forecast_rows(settings, model, panel, remaining, issue_time, order.has_time)
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
    return result


def _forecast_rows(
    settings: Pipeline, model: LoadedModel, panel: Panel, rows: np.ndarray, issue_time: datetime,
    has_time: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Forecast the series at `rows` (R rows of the panel) by one model.

    Returns:
        Quantiles and probabilities, shape (R, H, Q + X), and the fault of each row, shape (R,), '' if it has none.
    """
    spec, above, bounds = model.forecaster.spec, settings.forecast.above, settings.pipeline.bounds
    issue = to_micros(issue_time)
    first_step = settings.grid.first_step(issue)
    inputs = build_windows(spec, panel, rows, np.full(len(rows), first_step), np.full(len(rows), issue))
    visible = (~np.isnan(inputs.target)).sum(axis=1)
    try:
        values = model.forecaster.forecast(inputs, above, has_time)
    except Exception as error:  # ONNX Runtime has an exception class of its own for every fault
        logger.warning("Model %s cannot run: %s.", model.version, error)
        empty = np.full((len(rows), spec.horizon, len(spec.levels) + len(above)), np.nan)
        reason = f"model {model.version} cannot run: {str(error).splitlines()[0]}"
        return empty, np.full(len(rows), reason, object)
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
