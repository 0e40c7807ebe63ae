"""Decision whether a model must be trained."""

from __future__ import annotations

from datetime import datetime, timedelta

from flows.settings.pipeline import Pipeline
from flows.stages.trained_models import TrainedModels

_SHORT_DAY = timedelta(hours=1)  # when clocks go forward, the next issue time comes this much sooner


def retrain_reason(
    settings: Pipeline, models: TrainedModels, issue_time: datetime, decay: str | None = None
) -> str | None:
    """Return why a model must be trained at `issue_time`, None if none must.

    A training is due if a model that should serve cannot be loaded, or if the newest model, promoted or refused, is
    older than `training.every`.

    Args:
        settings: Settings of the pipeline.
        models: Trained models as of `issue_time`.
        issue_time: Issue time of the next forecast.
        decay: Complaint of the scores about the model that serves. It does not count for a model younger than
            `monitoring.recent`, because those scores are mostly of its predecessor.
    """
    champion = models.champion
    if champion is None and models.versions:
        return models.no_champion_reason
    if champion and champion.stale_reason:
        return champion.stale_reason
    trained = [datetime.fromisoformat(manifest["as_of"]) for manifest in models.manifests]
    newest = max((as_of for as_of in trained if as_of <= issue_time), default=None)
    if newest is None:
        return models.no_champion_reason
    age = issue_time - newest
    if age >= settings.training.every - _SHORT_DAY:
        return f"the newest model is {age} old; one is trained every {settings.training.every}"
    if decay and age >= settings.monitoring.recent:
        return decay
    return None
