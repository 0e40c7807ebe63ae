"""Issue time of a run: the requested one, or the last one for which the target is known."""

from __future__ import annotations

import logging
from datetime import datetime

from flows import clock
from flows.settings.pipeline import Pipeline
from flows.stages.panels import newest_target
from storage.schemas import DataError
from storage.store import Store

logger = logging.getLogger(__name__)


def choose_issue_time(settings: Pipeline, store: Store, requested: str | None, now: datetime) -> datetime:
    """Return the requested issue time, or the last one not after `now` and the newest target; UTC.

    Raises:
        TimeError: If the requested time is not ISO 8601.
        DataError: If the history cannot be read.
    """
    section = settings.pipeline
    if requested is not None:
        return clock.parse_time(requested, section.timezone)
    newest = newest_target(settings, store, now)
    return clock.default_issue_time(section.issue_at, section.timezone, newest, now)


def choose_issue_time_without_history(
    settings: Pipeline, store: Store, requested: str | None, now: datetime
) -> datetime:
    """Return the issue time as `choose_issue_time` does, or by the clock alone if the history cannot be read."""
    try:
        return choose_issue_time(settings, store, requested, now)
    except DataError as error:
        logger.warning("Cannot read the newest target (%s). The issue time follows from the clock alone.", error)
        return clock.last_issue_time(settings.pipeline.issue_at, settings.pipeline.timezone, now)
