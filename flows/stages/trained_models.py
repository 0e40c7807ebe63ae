"""Trained models of a pipeline as of an issue time, read from the store once for a decision about training."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from flows.settings.pipeline import Pipeline
from flows.stages.loaded_models import LoadedModel, load_champion
from storage import registry
from storage.schemas import DataError
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import Manifest
from storage.store import Store


@dataclass(frozen=True)
class TrainedModels:
    """Trained models of a pipeline as of an issue time.

    Attributes:
        manifests: Manifest of every model, oldest first.
        versions: Versions that may serve the issue time, the champion first.
        champion: Model that serves the issue time, None if none can.
        no_champion_reason: Why no model serves, None if one does.
        is_champion_unknown: Whether `champion.json` cannot be read, so that a training must write it anew.
    """

    manifests: list[Manifest]
    versions: list[str]
    champion: LoadedModel | None
    no_champion_reason: str | None
    is_champion_unknown: bool = False

    def manifest(self, version: str) -> Manifest:
        """Return the manifest of `version`.

        Raises:
            DataError: There is no valid manifest of that version.
        """
        for manifest in self.manifests:
            if manifest["version"] == version:
                return manifest
        raise DataError(f"model {version} has no valid manifest; `gatecast models` lists all models")


def read_trained_models(settings: Pipeline, store: Store, issue_time: datetime) -> TrainedModels:
    """Read the models of the pipeline."""
    versions = attempt(partial(registry.champions, store, settings.name, issue_time))
    champion, no_champion_reason = load_champion(settings, store, issue_time)
    manifests = registry.valid_manifests(store, settings.name)
    if isinstance(versions, Failed):
        return TrainedModels(manifests, [], champion, no_champion_reason, is_champion_unknown=True)
    return TrainedModels(manifests, versions, champion, no_champion_reason)
