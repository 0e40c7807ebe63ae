"""Backfill stage: publish missing forecasts, each from the data known at its issue time."""

from __future__ import annotations

from datetime import date, datetime
from functools import partial

from flows.settings.pipeline import Pipeline
from flows.stages.advisory_steps import AdvisorySteps
from flows.stages.fallback import no_deadline
from flows.stages.ingest import ingest
from flows.stages.progress import Progress, no_progress
from flows.stages.replay import issue_times_between, replay_issue_times
from flows.stages.report import report
from flows.stages.sample_paths import write_sample_paths
from flows.stages.score import LOOK_BACK, score
from storage import forecasts, registry
from storage.schemas import DataError
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import BackfillReport, PageReport, ScoreReport
from storage.store import Store


def backfill(
    settings: Pipeline, store: Store, start: date, end: date, now: datetime, progress: Progress = no_progress
) -> BackfillReport:
    """Publish the missing forecasts of the local days from `start` to `end`, both included; then score and report.

    Forecasts that exist are not changed, so a backfill that was interrupted can be repeated.

    Raises:
        DataError: There is no issue time between the days, one is in the future, or no forecast could be published.
    """
    issue_times = issue_times_between(settings, start, end)
    if issue_times[-1] > now:
        raise DataError(
            f"pipeline {settings.name!r}: {settings.local_text(issue_times[-1])} is still to come; choose an "
            "earlier end"
        )
    steps = AdvisorySteps()
    ingested = steps.run("ingest", partial(ingest, settings, store, now, now, progress), None)
    if ingested is not None:
        steps.failures.update({f"ingest:{feed}": error for feed, error in ingested["failures"].items()})
    result = replay_issue_times(settings, store, issue_times, now, progress)
    for issue_time in sorted(result.published) if settings.forecast.samples else ():
        write = partial(write_sample_paths, settings, store, issue_time, no_deadline)
        samples = steps.run(f"samples {issue_time.isoformat()}", write, None)
        if samples is not None:
            result.published[issue_time]["samples"] = samples
    timezone = settings.pipeline.timezone
    missing = [time for time in issue_times if not forecasts.exists(store, settings.name, timezone, time)]
    if missing and not result.published:
        first_error = next(iter(result.failures.values()), "no error was recorded")
        raise DataError(
            f"pipeline {settings.name!r}: none of {len(missing)} missing forecasts could be published: {first_error}"
        )
    published = [result.published[issue_time] for issue_time in sorted(result.published)]
    scored: ScoreReport | None = steps.run(
        "score", partial(_score, settings, store, issue_times[0], now, progress), None
    )
    page: PageReport | None = steps.run("report", partial(report, settings, store, now), None)
    return {
        "pipeline": settings.name,
        "issues": len(issue_times),
        "published": published,
        "degraded": bool(missing) or any(report["degraded"] for report in published),
        "failures": steps.failures | result.failures,
        "score": scored,
        "page": page,
        "champion": _champion(settings, store),
    }


def _champion(settings: Pipeline, store: Store) -> str | None:
    champions = attempt(lambda: registry.champions(store, settings.name))
    return None if isinstance(champions, Failed) else next(iter(champions), None)


def _score(settings: Pipeline, store: Store, first: datetime, now: datetime, progress: Progress) -> ScoreReport:
    """Score the forecasts since `first`."""
    newest = forecasts.list_issue_times(store, settings.name)[-1]
    return score(settings, store, now, max(LOOK_BACK, newest - first), progress)
