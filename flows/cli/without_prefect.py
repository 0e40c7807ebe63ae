"""A nightly run whose Prefect API failed: it ingests and forecasts, and leaves the rest to the next run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from flows import clock, summary
from flows.deadline import BASELINE_LIMIT, Deadline
from flows.settings.pipeline import Pipeline
from flows.stage_process.runner import run_stage
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import ForecastReport
from storage.store import Store


class UnservedRun(NamedTuple):
    """Published forecast, and error by stage."""

    forecast: ForecastReport
    failures: dict[str, str]


def run_without_prefect(path: Path, settings: Pipeline, store: Store, requested: str | None) -> UnservedRun:
    """Ingest and publish the forecast, each in a process of its own.

    Args:
        path: Pipeline file.
        settings: Settings of the pipeline.
        store: Store of the pipeline.
        requested: Requested issue time, as of the command.

    Raises:
        StageFailed: Not even the baseline's forecast could be published, or `forecast.on_failure` forbids it.
    """
    from flows.issue_time import NEWEST, choose_issue_time_without_history, parse_requested

    now, deadline = clock.now(), Deadline(settings.forecast.deadline)
    as_of = parse_requested(settings, requested) if requested and requested != NEWEST else now
    failures: dict[str, str] = {}
    ingested = attempt(partial(run_stage, "ingest", str(path), as_of.isoformat(), deadline.for_ingest))
    if isinstance(ingested, Failed):
        failures["ingest"] = ingested.text
    else:
        failures |= {f"ingest:{feed}": error for feed, error in ingested["failures"].items()}
    failed_feeds = summary.failed_feeds((feed.name for feed in settings.feed), failures)
    issue_time = choose_issue_time_without_history(settings, store, requested, now)
    publish = partial(
        run_stage, "forecast", str(path), issue_time.isoformat(), failed_feeds=failed_feeds, needs_champion=False
    )
    published = attempt(partial(publish, deadline.for_forecast))
    if isinstance(published, Failed):
        if settings.forecast.on_failure == "error":
            raise published.error
        failures["forecast"] = published.text
        report: ForecastReport = publish(
            max(deadline.remaining, BASELINE_LIMIT),
            no_model_reason=f"the model's forecast failed: {published.text}",
        )  # fmt: skip
        return UnservedRun(report, failures)
    report = published
    return UnservedRun(report, failures | {f"forecast:{step}": text for step, text in report["failures"].items()})
