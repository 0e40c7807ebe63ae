"""The nightly flow: ingest, train if due, forecast, score, report. Each stage is one task in a process of its own.

A stage that fails, hangs or is killed does not stop the run. By the deadline, the forecast is published from the data
and models that exist. Its rows state what was missing, and the run ends as degraded. Only a run that can publish
nothing fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from flows import artifacts, clock, logs, run_names, sharded, summary, tasks
from flows.deadline import BASELINE_LIMIT, Deadline
from flows.issue_time import NEWEST, check_requested, choose_issue_time_without_history, parse_requested
from flows.parameters import IssueTime, PipelineFile
from flows.settings import file as pipeline_file
from flows.settings.pipeline import Pipeline
from flows.stages.advisory_steps import AdvisorySteps
from flows.stages.metrics import write_metrics
from flows.states import completed_state
from storage import run_records
from storage.redaction import redact
from storage.schemas import DataError
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import ForecastReport, IngestReport, Manifest, NotTrained, RunRecord, TrainingReport
from storage.store import Store

logger = logging.getLogger(__name__)

# Seconds that a training takes in addition to its budget: a process, torch, reading, exporting, comparing.
_TRAINING_OVERHEAD = 20.0
_DECISION_LIMIT = 20.0  # seconds that the decision about a training may take at least, also late in a run.
_AFTER_FORECAST_LIMIT = 900.0  # seconds for each stage after the forecast is published.
_MAX_SCORE_AGE = timedelta(days=7)  # age of the last run's scores that may still make a retrain due.


@dataclass(frozen=True)
class _Run:
    """One nightly run: its pipeline, and its record, which every stage fills in."""

    pipeline_path: str
    settings: Pipeline
    store: Store
    record: RunRecord

    @cached_property
    def steps(self) -> AdvisorySteps:
        """Steps without which the run goes on. Their failures are those of the record."""
        return AdvisorySteps(self.record["failures"])


@flow(name="nightly", flow_run_name=run_names.name_by_issue_time, persist_result=False)
def nightly(pipeline: PipelineFile, issue_time: IssueTime | None = None) -> State[Any]:
    """Run one pipeline for one issue time.

    Args:
        pipeline: Path of the pipeline file.
        issue_time: ISO 8601, or `newest` for data that ended in the past. Default: the last issue time at the run's
            scheduled start.

    Returns:
        Completed, or Completed named `CompletedPartial` if some rows do not come from the champion or a stage failed.
        Its data is the run record, which the store keeps under `nights/`.
    """
    started = clock.now()
    scheduled = flow_run.scheduled_start_time or started
    with pipeline_file.hold(pipeline) as (settings, store):
        check_requested(settings, issue_time)
        logs.bind(run=flow_run.id, pipeline=settings.name, issue_time=None)
        # A missing engine must be an error now, not after the other stages.
        run_forecast = sharded.forecast_runner(settings.scale.engine)
        record: RunRecord = {
            "pipeline": settings.name, "started_at": started.isoformat(), "failures": {}, "seconds": {}, "late": {},
            "deadline": (started + settings.forecast.deadline).isoformat(), "ingest": None, "train": None,
            "published_at": None, "forecast": None, "score": None, "alerts": [], "degraded": True,
        }  # fmt: skip
        run = _Run(pipeline, settings, store, record)
        try:
            forecast = _run_stages(run, run_forecast, issue_time, scheduled)
        finally:
            _write_records(run)
        is_degraded = summary.exit_status(record["degraded"], record["failures"]) == summary.DEGRADED
        return completed_state(summary.run_sentence(forecast, record["failures"]), record, is_degraded)


def _run_stages(
    run: _Run, run_forecast: Callable[..., Any], requested: str | None, scheduled: datetime
) -> ForecastReport:
    """Run the stages in order, and enter the result of each in the record as soon as it ends."""
    settings, record = run.settings, run.record
    deadline = Deadline(settings.forecast.deadline)
    as_of = parse_requested(settings, requested) if requested and requested != NEWEST else scheduled
    ingested: IngestReport | None = _run_stage(run, "ingest", tasks.ingest_task, as_of.isoformat(), deadline.for_ingest)
    record["ingest"] = ingested
    if ingested:
        record["failures"] |= {f"ingest:{feed}": error for feed, error in ingested["failures"].items()}
    issue_time = choose_issue_time_without_history(settings, run.store, requested, scheduled)
    record["issue_time"] = issue_time.isoformat()
    run_names.rename(settings, issue_time)
    logs.bind(issue_time=issue_time.isoformat())
    decide = partial(_retrain_reason, run, issue_time, deadline)
    reason: str | None = run.steps.run("training decision", decide, None)
    budget = settings.training.budget.total_seconds()
    trains_first = deadline.for_training >= budget + _TRAINING_OVERHEAD
    if trains_first:
        record["train"] = _train(run, issue_time, reason, deadline.for_training)
    forecast = _forecast(run, run_forecast, issue_time, deadline)
    record["forecast"], record["published_at"] = forecast, clock.now().isoformat()
    record["late"] = forecast["incomplete"]
    record["degraded"] = forecast["degraded"]
    record["failures"] |= {f"forecast:{step}": error for step, error in forecast["failures"].items()}
    logger.info("%s", summary.forecast_sentence(forecast))
    if not trains_first:
        # This training could not have served before the deadline. Its model is ready for the next run.
        record["train"] = _train(run, issue_time, reason, budget + _AFTER_FORECAST_LIMIT)
    record["score"] = _run_stage(run, "score", tasks.score_task, as_of.isoformat(), _AFTER_FORECAST_LIMIT)
    record["alerts"] = record["score"]["alerts"] if record["score"] else []
    return forecast


def _train(run: _Run, issue_time: datetime, reason: str | None, limit: float) -> TrainingReport | NotTrained | None:
    if reason is None:
        return {"trained": False}
    logger.info("Training a challenger: %s.", reason)
    manifest: Manifest | None = _run_stage(run, "train", tasks.train_task, issue_time.isoformat(), limit)
    return None if manifest is None else {"trained": True, "due": reason, **manifest}


def _forecast(run: _Run, run_forecast: Callable[..., Any], issue_time: datetime, deadline: Deadline) -> ForecastReport:
    """Publish the model's forecast, or the baseline's if the model's is not ready in time."""
    failed_feeds = summary.failed_feeds((feed.name for feed in run.settings.feed), run.record["failures"])
    report: ForecastReport | None = _run_stage(
        run, "forecast", run_forecast, issue_time.isoformat(), deadline.for_forecast,
        stale_reason=summary.stale_reason(run.record["failures"]), failed_feeds=failed_feeds,
    )  # fmt: skip
    if report is not None:
        return report
    failure = run.record["failures"]["forecast"]
    if run.settings.forecast.on_failure == "error":
        raise DataError(failure)
    publish = partial(
        tasks.forecast_task, run.pipeline_path, issue_time.isoformat(), max(deadline.remaining, BASELINE_LIMIT),
        no_model_reason=f"the model's forecast failed: {failure}", failed_feeds=failed_feeds,
    )  # fmt: skip
    published = attempt(publish)
    if isinstance(published, Failed):
        raise DataError(summary.without_forecast(published.text, failed_feeds))
    result: ForecastReport = published
    return result


def _run_stage(run: _Run, stage: str, task: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return the result of a stage, or None if it failed. Its time and its failure go into the record."""
    started = clock.now()
    # A task that cannot even start, without Prefect's server for example, costs its stage only.
    state = attempt(partial(task, run.pipeline_path, *arguments, **options, return_state=True))
    run.record["seconds"][stage] = round((clock.now() - started).total_seconds(), 2)
    if not isinstance(state, Failed):
        if state.is_completed():
            return state.result()
        error = state.result(raise_on_failure=False)
    text = redact(state.text) if isinstance(state, Failed) else str(error)
    run.record["failures"][stage] = text
    logger.error("Stage %s failed: %s. The run continues without it.", stage, text)
    return None


def _retrain_reason(run: _Run, issue_time: datetime, deadline: Deadline) -> str | None:
    """Return why a model must be trained at `issue_time`, None if none must.

    The decision loads the champion. A process of its own can be killed, whatever a model's file contains.
    """
    alert_reason = run.steps.run("alerts of the last run", partial(_last_alert_reason, run, issue_time), None)
    limit = max(_DECISION_LIMIT, deadline.for_training / 2)
    return tasks.decide(run.pipeline_path, issue_time.isoformat(), limit, alert_reason)


def _last_alert_reason(run: _Run, issue_time: datetime) -> str | None:
    """Return the detail of the alert of the last run that requires a retrain, or None."""
    records = run_records.read(run.store, run.settings.name, issue_time - _MAX_SCORE_AGE)
    earlier = [record for record in records if record["issue_time"] < issue_time.isoformat()]
    score = earlier[-1]["score"] if earlier else None
    return score["decay"] if score else None


def _write_records(run: _Run) -> None:
    """Write the run record, page, metrics and artifacts, also of a run that published nothing."""
    settings, store, record = run.settings, run.store, run.record

    def write_record() -> None:
        if "issue_time" in record:
            run_records.write(store, settings.name, datetime.fromisoformat(record["issue_time"]), record)

    run.steps.run("record", write_record, None)
    # The page shows the record, which was written before.
    written = dict(record["failures"])
    page = _run_stage(run, "report", tasks.report_task, clock.now().isoformat(), _AFTER_FORECAST_LIMIT)
    record["page"] = page["path"] if page else None
    run.steps.run("metrics", lambda: write_metrics(settings, store, record, clock.now()), "")
    run.steps.run("artifacts", lambda: artifacts.publish_artifacts(settings, store, record), None)
    if record["failures"] != written:
        run.steps.run("record", write_record, None)
