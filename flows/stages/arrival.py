"""Decision whether new data could improve a published forecast."""

from __future__ import annotations

from datetime import datetime

from flows.settings.pipeline import Pipeline
from storage import forecasts
from storage.schemas import STALE_MODEL
from storage.store import Store


def awaits_data(settings: Pipeline, store: Store, issue_time: datetime) -> bool:
    """Return True if the forecast of `issue_time` is missing or has stale rows.

    Rows are stale if a feed or a training failed before the forecast, or if the champion could not be used.
    """
    zone = settings.pipeline.timezone
    if not forecasts.exists(store, settings.name, zone, issue_time):
        return True
    rows, _ = forecasts.read(store, settings.name, zone, issue_time)
    return bool((rows["status"] == STALE_MODEL).any())
