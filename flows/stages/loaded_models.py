"""Models loaded from the store: the champion of an issue time and its predecessors."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from flows.settings.pipeline import Pipeline
from model.forecaster import Forecaster
from storage import registry
from storage.schemas import DataError
from storage.schemas.attempts import Failed, attempt
from storage.store import Store

logger = logging.getLogger(__name__)


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
            model = attempt(partial(_load, settings, store, version, self.error, threads))
            if isinstance(model, Failed):
                logger.warning("Model %s cannot serve and is skipped: %s.", version, model.text)
                self._errors.append(model.text if model.is_data_error else f"model {version}: {model.text}")
            else:
                yield model


def load_models(settings: Pipeline, store: Store, issue_time: datetime) -> tuple[ModelChain, str | None]:
    """Load the models that can serve `issue_time`, the champion first.

    Returns:
        At least one model and None, or no model and the reason.
    """
    nothing = ModelChain(settings, store, [])
    versions = attempt(partial(registry.champions, store, settings.name, issue_time))
    if isinstance(versions, Failed):
        return nothing, f"the champion is unknown: {versions.text}"
    if not versions:
        reason = attempt(partial(_explain_missing_champion, settings, store, issue_time))
        return nothing, f"there is no champion: {reason.text}" if isinstance(reason, Failed) else reason
    models = ModelChain(settings, store, versions)
    return (models, None) if models.first else (nothing, models.error)


def _explain_missing_champion(settings: Pipeline, store: Store, issue_time: datetime) -> str:
    """Return why there is no champion: if the last training was refused, why, and when the next is due."""
    if registry.champions(store, settings.name):
        return f"every champion was trained on data after the issue time {settings.local_text(issue_time)}"
    reason = registry.explain_missing_champion(store, settings.name)
    manifests = registry.valid_manifests(store, settings.name)
    trained = [manifest for manifest in manifests if datetime.fromisoformat(manifest["as_of"]) <= issue_time]
    if not trained or any(manifest["decision"]["promoted"] for manifest in manifests):
        return reason
    zone = ZoneInfo(settings.pipeline.timezone)
    as_of = datetime.fromisoformat(trained[-1]["as_of"])
    due = as_of + settings.training.every
    return (
        f"{reason}: the last training, as of {as_of.astimezone(zone):%Y-%m-%d %H:%M}, was "
        f"{trained[-1]['decision']['reason']}; the next is due {'since' if due <= issue_time else 'on'} "
        f"{due.astimezone(zone):%Y-%m-%d %H:%M}"
    )


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
