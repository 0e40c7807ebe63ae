"""Issue time of a run: the requested one, the last one by the clock, or that of the newest data."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial

from flows import clock
from flows.settings.pipeline import Pipeline
from flows.stages.panels import newest_target
from storage.schemas.attempts import Failed, attempt
from storage.store import Store

logger = logging.getLogger(__name__)

#: Value of --issue-time and --as-of for data that ended in the past.
NEWEST = "newest"


def parse_requested(settings: Pipeline, requested: str) -> datetime:
    """Return a requested time in UTC. A day alone means its issue time.

    Raises:
        TimeError: If it is not ISO 8601, or in the future.
    """
    section, now = settings.pipeline, clock.now()
    time = clock.parse_time(requested, section.timezone, section.issue_at)
    if time > now:
        raise clock.TimeError(
            f"{requested!r} is {settings.local_text(time)}, which is after the present time, "
            f"{settings.local_text(now)}. What will be known then is not known yet. Choose an earlier time, or leave "
            "it out for the last issue time."
        )
    return time


def _parse_issue_time(settings: Pipeline, requested: str) -> datetime:
    """Return a requested issue time in UTC.

    Raises:
        TimeError: If it is not ISO 8601, in the future, or not a whole second, which names its files.
    """
    time = parse_requested(settings, requested)
    if time.microsecond:
        raise clock.TimeError(f"{requested!r} has a fraction of a second. Leave the fraction out.")
    return time


def check_requested(settings: Pipeline, requested: str | None) -> None:
    """Check a requested issue time before any work begins.

    Raises:
        TimeError: If it is neither `newest` nor ISO 8601, or in the future.
    """
    if requested and requested != NEWEST:
        _parse_issue_time(settings, requested)


def check_days(settings: Pipeline, start: str, end: str) -> None:
    """Check the days of a backfill before any work begins.

    Raises:
        TimeError: If a day is not ISO 8601, the last is before the first, or its issue time is in the future.
    """
    section = settings.pipeline
    _, last = clock.parse_days(start, end)
    issue_time = clock.issue_time_on(last, section.issue_at, section.timezone)
    if issue_time > clock.now():
        raise clock.TimeError(
            f"The end {end} has its issue time at {settings.local_text(issue_time)}, which is still to come. Choose an "
            "earlier end."
        )


def choose_issue_time(settings: Pipeline, store: Store, requested: str | None, now: datetime) -> datetime:
    """Return the requested issue time, or the last one not after `now`; UTC.

    `newest` requests the last issue time that is not after the newest target value either.

    Args:
        settings: Settings of the pipeline.
        store: Store with the history.
        requested: ISO 8601, `newest` or None.
        now: Present instant, or the scheduled start of a run.

    Raises:
        TimeError: If the requested time is not ISO 8601, in the future, or not a whole second.
        DataError: If `newest` is requested and the history cannot be read.
    """
    section = settings.pipeline
    if not requested:
        return clock.last_issue_time(section.issue_at, section.timezone, now)
    if requested != NEWEST:
        return _parse_issue_time(settings, requested)
    newest = newest_target(settings, store, now)
    if newest is None:
        logger.warning("There is no target value, so the newest issue time follows from the clock alone.")
    return clock.default_issue_time(section.issue_at, section.timezone, newest, now)


def choose_issue_time_without_history(
    settings: Pipeline, store: Store, requested: str | None, now: datetime
) -> datetime:
    """Return the issue time as `choose_issue_time` does, or by the clock alone if the history cannot be read."""
    issue_time = attempt(partial(choose_issue_time, settings, store, requested, now), (clock.TimeError,))
    if not isinstance(issue_time, Failed):
        return issue_time
    logger.warning("Cannot read the newest target (%s). The issue time follows from the clock alone.", issue_time.text)
    return clock.last_issue_time(settings.pipeline.issue_at, settings.pipeline.timezone, now)
