"""What a training goes on from."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from flows.settings.pipeline import Pipeline
from flows.stages.fallback import LoadedModel
from storage import registry
from storage.schemas import DataError
from storage.schemas.records import Manifest
from storage.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WarmStart:
    """The model that a training goes on from.

    Attributes:
        full_fit: when (ISO) the last full fit before it was.
        renew: it is time for another: one member begins from nothing, the others are taken as they are.
        fill: places of members that have not been fitted yet may be filled now.
    """

    version: str
    onnx: bytes
    full_fit: str
    renew: bool
    fill: bool


def select_warm_start(
    settings: Pipeline, store: Store, serving: LoadedModel | None, records: list[Manifest], as_of: datetime
) -> WarmStart | None:
    """What training goes on from: the champion, unless it is time for a full fit of its only member.

    A champion of this very `as_of` is what comes out, not where it came from: then what it went on from. Before there
    is a champion it is the newest model that was refused: it has learned, only not enough yet. A full fit that was
    refused counts as one, also where it was to fill the place of a member: another a week later would see nearly the
    same and be refused again.
    """
    try:
        record = _record(settings, store, serving, records, as_of)
        if record is None or "pruned" in record:
            return None
        onnx = registry.load(store, settings.name, record["version"])
    except DataError as error:
        logger.warning("begun from nothing: %s", error)
        return None
    full_fit = record.get("full_fit", record["as_of"])
    tried = [datetime.fromisoformat(m["as_of"]) for m in records if m.get("full_fit", m["as_of"]) == m["as_of"]]
    newest = max([at for at in tried if at < as_of], default=datetime.fromisoformat(full_fit))
    renew = as_of - newest >= settings.training.full_every
    if renew and settings.model.members == 1:
        return None
    return WarmStart(record["version"], onnx, full_fit, renew, fill=newest <= datetime.fromisoformat(record["as_of"]))


def _record(
    settings: Pipeline, store: Store, serving: LoadedModel | None, records: list[Manifest], as_of: datetime
) -> Manifest | None:
    """The manifest of the model that is gone on from, or None."""
    if serving is None:
        before = [m for m in records if datetime.fromisoformat(m["as_of"]) < as_of]
        return before[-1] if before and not registry.champions(store, settings.name, as_of) else None
    record = registry.read_manifest(store, settings.name, serving.version)
    if datetime.fromisoformat(record["as_of"]) < as_of:
        return record
    came_from = record.get("warm_start_from")
    return registry.read_manifest(store, settings.name, came_from) if came_from else None
