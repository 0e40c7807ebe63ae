"""Whether a forecast waits for data."""

from __future__ import annotations

from datetime import datetime

from flows.settings.pipeline import Pipeline
from storage import forecasts
from storage.schemas import STALE_MODEL
from storage.store import Store


def awaits_data(settings: Pipeline, store: Store, issue_time: datetime) -> bool:
    """Whether the forecast of `issue_time` is missing, or was made without what a source or a training did not give."""
    zone = settings.pipeline.timezone
    if not forecasts.exists(store, settings.name, zone, issue_time):
        return True
    rows, _ = forecasts.read(store, settings.name, zone, issue_time)
    return bool((rows["status"] == STALE_MODEL).any())
