"""The ladder: for every series the champion, else its predecessor, else the baseline; each with its reason."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from flows.settings.pipeline import Pipeline
from model.checks.forecasts import find_faults
from model.forecaster import Forecaster
from model.panel import Panel
from model.windows import windows
from storage import registry
from storage.schemas import BASELINE, MODEL, STALE_MODEL, DataError
from storage.store import Store

logger = logging.getLogger(__name__)

_RUNGS = 2  # models tried for a series: the champion and its predecessor


@dataclass(frozen=True)
class LoadedModel:
    """A model that may serve an issue time; `stale_reason` says why it is not the champion, None if it is."""

    forecaster: Forecaster
    version: str
    sha256: str
    stale_reason: str | None


class ModelChain:
    """The models of some versions, in that order, each loaded once, and only when it is asked for.

    Args:
        versions: the champion first; those that cannot serve are passed over, and said.
        threads: of each model.
    """

    def __init__(self, settings: Pipeline, store: Store, versions: list[str], threads: int | None = None) -> None:
        self.versions = versions
        self._loaded: list[LoadedModel] = []
        self._faults: list[str] = []
        self._loading = self._load(settings, store, threads or os.cpu_count() or 1)

    def __iter__(self) -> Iterator[LoadedModel]:
        at = 0
        while at < len(self._loaded) or self._loads_another():
            yield self._loaded[at]
            at += 1

    @property
    def fault(self) -> str | None:
        """What is wrong with the first version that cannot serve, of those asked for so far."""
        return self._faults[0] if self._faults else None

    def _loads_another(self) -> bool:
        found = next(self._loading, None)
        if found is not None:
            self._loaded.append(found)
        return found is not None

    def _load(self, settings: Pipeline, store: Store, threads: int) -> Iterator[LoadedModel]:
        for version in self.versions:
            try:
                yield _load(settings, store, version, self.fault, threads)
            except DataError as error:
                logger.warning("model %s cannot serve: %s", version, error)
                self._faults.append(str(error))


def load_models(settings: Pipeline, store: Store, issue_time: datetime) -> tuple[ModelChain, str | None]:
    """The models that can serve `issue_time`, the champion first.

    Returns:
        At least one model and None, or none and why.
    """
    none = ModelChain(settings, store, [])
    try:
        versions = registry.champions(store, settings.name, issue_time)
    except DataError as error:
        return none, str(error)
    if not versions:
        later = registry.champions(store, settings.name)
        if later:
            return none, f"every champion was trained on data after the issue time {issue_time.isoformat()}"
        return none, registry.explain_missing_champion(store, settings.name)
    models = ModelChain(settings, store, versions)
    return (models, None) if any(True for _ in models) else (none, models.fault)


def load_champion(settings: Pipeline, store: Store, issue_time: datetime) -> tuple[LoadedModel | None, str | None]:
    """The model that serves `issue_time`: the champion, else the newest predecessor that can; or None and why."""
    models, why_none = load_models(settings, store, issue_time)
    return next(iter(models), None), why_none


def _load(settings: Pipeline, store: Store, version: str, stale_reason: str | None, threads: int) -> LoadedModel:
    onnx = registry.load(store, settings.name, version)
    try:
        forecaster = Forecaster(onnx, settings.forecast.providers, threads, settings.forecast.strict)
    except ValueError as error:
        raise DataError(f"model {version}: {error}") from None
    if settings.forecast.above and not forecaster.has_probabilities:
        raise DataError(f"model {version} was made before files told probabilities (forecast.above): train a new one")
    difference = forecaster.spec.first_difference(settings.spec())
    if difference:
        raise DataError(f"model {version} does not fit the pipeline file: {difference}")
    return LoadedModel(forecaster, version, hashlib.sha256(onnx).hexdigest(), stale_reason)


@dataclass
class FallbackResult:
    """What each of S series is forecast by.

    Attributes:
        numbers: (S, H, Q + X) quantiles, then the probabilities asked for; NaN where no model could forecast: there
            the status is `baseline`.
        status, reason, version: (S,) of objects, as the forecast file has them.
        first: the model that was tried first, None if none was.
    """

    numbers: np.ndarray
    status: np.ndarray
    reason: np.ndarray
    version: np.ndarray
    first: LoadedModel | None = None


def forecast_with_fallback(
    models: Iterable[LoadedModel],
    why_none: str | None,
    panel: Panel,
    horizon: int,
    levels: int,
    above: tuple[float, ...],
    step: int,
    issue: int,
    bounds: tuple[float | None, float | None],
    stale_reason: str | None,
    has_time: Callable[[], bool],
) -> FallbackResult:
    """Forecast every series by the first model that can.

    Args:
        why_none: reason of rows that no model was there for.
        panel: the S series; horizon, levels: H and Q.
        above: the X values of which P(value > x) is asked.
        step, issue: first step forecast, and the issue time (us).
        stale_reason: why a model's rows are stale in any case, None if they are not.
        has_time: False once the rows still missing must come from the baseline.
    """
    count = len(panel.series)
    nothing = np.full((levels + len(above), count, horizon), np.nan).transpose(1, 2, 0)
    out = FallbackResult(
        nothing, np.full(count, BASELINE, object), np.full(count, why_none, object), np.full(count, None, object)
    )
    left = np.arange(count)
    for tried, serving in enumerate(models):
        if tried == _RUNGS or not len(left):
            break
        out.first = out.first or serving
        predicted, fault = _by(serving, panel, left, step, issue, above, bounds, has_time)
        good = fault == ""
        rows = left[good]
        why = [out.reason[row] or serving.stale_reason or stale_reason for row in rows]
        if len(rows) == count:
            out.numbers = predicted
        else:
            out.numbers[rows] = predicted[good]
        out.status[rows] = [STALE_MODEL if reason else MODEL for reason in why]
        out.reason[rows] = why
        out.version[rows] = serving.version
        left, fault = left[~good], fault[~good]
        for row, reason in zip(left, fault, strict=True):
            # The champion's reason says most; what its predecessor lacked is a consequence.
            out.reason[row] = out.reason[row] or reason
    return out


def _by(
    serving: LoadedModel, panel: Panel, rows: np.ndarray, step: int, issue: int, above: tuple[float, ...],
    bounds: tuple[float | None, float | None], has_time: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Quantiles and probabilities of the series `rows` by one model, and why each cannot be used ('' if it can)."""
    spec = serving.forecaster.spec
    seen = windows(spec, panel, rows, np.full(len(rows), step), np.full(len(rows), issue))
    visible = (~np.isnan(seen.target)).sum(axis=1)
    try:
        predicted = serving.forecaster.forecast(seen, above, has_time)
    except Exception as error:  # ONNX Runtime raises a class of its own for every fault
        logger.warning("model %s cannot run: %s", serving.version, error)
        empty = np.full((len(rows), spec.horizon, len(spec.levels) + len(above)), np.nan)
        reason = f"model {serving.version} cannot run: {str(error).splitlines()[0]}"
        return empty, np.full(len(rows), reason, object)
    fault = find_faults(predicted[..., : len(spec.levels)], *bounds)
    missing = np.isnan(predicted).all(axis=(1, 2))
    if missing.any() and not has_time():
        fault[missing] = "the deadline came before the model had forecast this series"
    too_few = visible < spec.min_visible
    fault[too_few] = [
        f"only {n} of {spec.context} values of the context were known; the model needs {spec.min_visible}"
        for n in visible[too_few]
    ]
    return predicted, fault
