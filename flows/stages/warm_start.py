"""Warm start: the model whose weights a training starts from."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from flows.settings.pipeline import Pipeline
from flows.stages.trained_models import TrainedModels
from storage import registry
from storage.schemas import DataError
from storage.schemas.records import Manifest
from storage.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WarmStart:
    """Model whose weights a training starts from.

    Attributes:
        version: Version of the model.
        onnx: Content of its file.
        full_fit: Issue time (ISO 8601) of the last full fit before it.
        needs_full_fit: Whether one member is fitted from random weights, because `training.full_every` has passed.
        may_fit_copy: Whether a member that is still a copy of another may now be fitted from random weights.
    """

    version: str
    onnx: bytes
    full_fit: str
    needs_full_fit: bool
    may_fit_copy: bool


def select_warm_start(settings: Pipeline, store: Store, models: TrainedModels, as_of: datetime) -> WarmStart | None:
    """Return the model whose weights a training at `as_of` starts from, None to start from random weights.

    It is the champion, or before the first promotion the newest refused model, which has learned but not enough yet.
    A repeated training of the champion's own issue time starts where the champion did. An ensemble of one member
    starts from random weights when a full fit is due.

    A refused full fit counts as a full fit, also for a member that is a copy: a repetition a week later would see
    nearly the same data and be refused again.
    """
    try:
        manifest = _source(models, as_of)
        if manifest is None or "pruned" in manifest:
            return None
        onnx = _read_model(settings, store, models, manifest["version"])
    except DataError as error:
        logger.warning("The training starts from random weights instead of an earlier model: %s.", error)
        return None
    full_fit = manifest.get("full_fit", manifest["as_of"])
    full_fits = [
        datetime.fromisoformat(m["as_of"]) for m in models.manifests if m.get("full_fit", m["as_of"]) == m["as_of"]
    ]
    newest = max([fitted for fitted in full_fits if fitted < as_of], default=datetime.fromisoformat(full_fit))
    needs_full_fit = as_of - newest >= settings.training.full_every
    if needs_full_fit and settings.model.members == 1:
        return None
    may_fit_copy = newest <= datetime.fromisoformat(manifest["as_of"])
    return WarmStart(manifest["version"], onnx, full_fit, needs_full_fit, may_fit_copy)


def _source(models: TrainedModels, as_of: datetime) -> Manifest | None:
    """Return the manifest of the model to start from, None if there is none."""
    if models.champion is None:
        earlier = [m for m in models.manifests if datetime.fromisoformat(m["as_of"]) < as_of]
        return earlier[-1] if earlier and not models.versions else None
    manifest = models.manifest(models.champion.version)
    if datetime.fromisoformat(manifest["as_of"]) < as_of:
        return manifest
    version = manifest.get("warm_start_from")
    return models.manifest(version) if version else None


def _read_model(settings: Pipeline, store: Store, models: TrainedModels, version: str) -> bytes:
    if models.champion and models.champion.version == version:
        return models.champion.onnx
    return registry.load(store, settings.name, version)
