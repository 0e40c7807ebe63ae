"""Backfill: the nights that were missed, published one by one from what was known then."""

from __future__ import annotations

from datetime import date, datetime

from flows.settings.pipeline import Pipeline
from flows.stages.ingest import ingest
from flows.stages.progress import Progress, no_progress
from flows.stages.replay import issue_times_between, replay_issue_times
from storage import forecasts
from storage.schemas import DataError
from storage.schemas.records import BackfillReport
from storage.store import Store


def backfill(
    settings: Pipeline, store: Store, start: date, end: date, now: datetime, progress: Progress = no_progress
) -> BackfillReport:
    """Publish the forecasts of the issue times between the local days `start` and `end` that are not there.

    Those that are there are left alone, so that a backfill that broke off goes on where it stopped.

    Returns:
        issues, published: what `forecast` says of each, degraded: whether one is, failures.

    Raises:
        DataError: no issue time lies in between, one lies in the future, or there is no history.
    """
    issues = issue_times_between(settings, start, end)
    if not issues:
        raise DataError(f"pipeline {settings.name!r}: no issue time lies between {start} and {end}")
    if issues[-1] > now:
        raise DataError(f"pipeline {settings.name!r}: {issues[-1].isoformat()} is still to come; choose an earlier end")
    failures = {}
    try:
        ingest(settings, store, now, now, progress)
    except DataError as error:
        failures["ingest"] = str(error)
    done = replay_issue_times(settings, store, issues, now, progress)
    missing = [
        issue for issue in issues if not forecasts.exists(store, settings.name, settings.pipeline.timezone, issue)
    ]
    if missing and not done.published:
        raise DataError(
            f"pipeline {settings.name!r}: none of {len(missing)} nights could be published: "
            f"{next(iter(done.failures.values()), 'nothing failed')}"
        )
    published = [done.published[issue] for issue in sorted(done.published)]
    degraded = bool(missing) or any(night["degraded"] for night in published)
    return {
        "pipeline": settings.name, "issues": len(issues), "published": published,
        "degraded": degraded, "failures": failures | done.failures,
    }  # fmt: skip
