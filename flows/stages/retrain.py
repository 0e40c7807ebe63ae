"""Decision whether a model must be trained."""

from __future__ import annotations

from datetime import datetime, timedelta

from flows.settings.pipeline import Pipeline
from flows.settings.types import duration_text
from flows.stages.trained_models import TrainedModels

_CLOCK_CHANGE = timedelta(hours=1)  # when clocks go forward, the next issue time comes this much sooner


def retrain_reason(
    settings: Pipeline, models: TrainedModels, issue_time: datetime, alert_reason: str | None = None
) -> str | None:
    """Return why a model must be trained at `issue_time`, None if none must.

    A training is due if there is no model, or if a model that should serve cannot be loaded. It is also due if the
    newest model is `training.every` old, less an hour for clock changes, or if an alert requires it. A refused model
    counts as newest: no other is trained before `training.every`.

    Args:
        settings: Settings of the pipeline.
        models: Trained models as of `issue_time`.
        issue_time: Issue time of the next forecast.
        alert_reason: Detail of the skill or drift alert that requires a retrain, None without one. It is ignored for a
            model younger than `monitoring.recent`, because those scores are mostly of its predecessor.
    """
    champion = models.champion
    if champion is None and (models.versions or models.is_champion_unknown):
        return models.no_champion_reason
    if champion and champion.stale_reason:
        return champion.stale_reason
    trained = [datetime.fromisoformat(manifest["as_of"]) for manifest in models.manifests]
    newest = max((as_of for as_of in trained if as_of <= issue_time), default=None)
    if newest is None:
        return models.no_champion_reason
    age = issue_time - newest
    if age >= settings.training.every - _CLOCK_CHANGE:
        every = duration_text(settings.training.every)
        return f"the newest model is {duration_text(age)} old; a model is trained every {every}"
    if alert_reason and age >= settings.monitoring.recent:
        return alert_reason
    return None
