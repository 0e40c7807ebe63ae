"""The nightly flow: ingest, train if due, forecast, score, report. Each stage is one task in a process of its own.

A stage that fails, hangs or is killed does not stop the night: by the deadline the forecast is made from what there
is, its rows say what was missing, and the run ends as degraded. Only when nothing could be published does it fail.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Completed, State

from flows import artifacts, clock, logs, sharded, summary
from flows.deadline import Deadline, response_limit
from flows.parameters import IssueTime, PipelineFile
from flows.settings import file as pipeline_file
from flows.settings.pipeline import Pipeline
from flows.stage_process import runner
from flows.stages.lateness import REPLAY_AGE
from flows.stages.metrics import write_metrics
from flows.stages.panels import newest_target
from flows.stages.train import retrain_reason
from storage import run_records as nights
from storage.schemas import DataError
from storage.schemas.records import ForecastReport
from storage.store import Store, open_store

logger = logging.getLogger(__name__)

#: Of every task: nothing is cached, nothing kept; paths go in and small dictionaries come out.
TASK: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
_STARTING = 20.0  # seconds that a training takes beside its budget: a process, torch, reading, exporting, comparing
_AFTERWARDS = 900.0  # seconds for what comes after the forecast is published
_REMEMBERED = timedelta(days=7)  # how old a night's scores may be that ask for a retrain
_LAST_RESORT = 60.0  # seconds that the baseline may take even when the deadline is over


@task(name="ingest", **TASK)
def ingest_task(pipeline_path: str, as_of: str, limit: float | None = None) -> dict[str, Any]:
    """Feeds into the history; with a limit, those that answer in time."""
    within = None if limit is None else response_limit(limit)
    return runner.run_stage("ingest", pipeline_path, as_of, limit, within=within)


@task(name="train", **TASK)
def train_task(pipeline_path: str, as_of: str, limit: float | None = None) -> dict[str, Any]:
    """A challenger."""
    return runner.run_stage("train", pipeline_path, as_of, limit)


@task(name="forecast", **TASK)
def forecast_task(pipeline_path: str, issue_time: str, limit: float | None = None, **options: Any) -> dict[str, Any]:
    """The forecast file."""
    within = None if limit is None else response_limit(limit)
    return runner.run_stage("forecast", pipeline_path, issue_time, limit, within=within, **options)


@task(name="score", **TASK)
def score_task(pipeline_path: str, at: str, limit: float) -> dict[str, Any]:
    """What has come true."""
    return runner.run_stage("score", pipeline_path, at, limit)


@task(name="report", **TASK)
def report_task(pipeline_path: str, at: str, limit: float) -> dict[str, Any]:
    """The page."""
    return runner.run_stage("report", pipeline_path, at, limit)


@flow(name="nightly", flow_run_name="nightly {pipeline}", persist_result=False)
def nightly(pipeline: PipelineFile, issue_time: IssueTime | None = None) -> State:
    """One night of a pipeline.

    Args:
        pipeline: path of the pipeline file.
        issue_time: ISO 8601; by default the last one at the run's scheduled start.

    Returns:
        Completed, or Completed named `CompletedPartial` when some rows are not the champion's; its data is the
        report of the night, which is also kept in the store under `nights/`.
    """
    started = clock.now()
    present = flow_run.scheduled_start_time or started
    settings, _ = _open(pipeline)
    logs.bind(run=flow_run.id, pipeline=settings.name, issue_time=None)
    # Not when the night is nearly over: that an engine is not installed is said at once.
    forecast_on = sharded.forecast_flow(settings.scale.engine) or forecast_task
    report: dict[str, Any] = {
        "pipeline": settings.name, "started_at": started.isoformat(), "failures": {}, "seconds": {}, "late": {},
        "deadline": (started + settings.forecast.deadline).isoformat(), "ingest": None, "train": None,
        "published_at": None, "forecast": None, "score": None, "alerts": [], "degraded": True,
    }  # fmt: skip
    try:
        _night(report, forecast_on, pipeline, issue_time, present)
    finally:
        _close(report, pipeline)
    return final_state(report, report["forecast"], report["degraded"])


def _night(
    report: dict[str, Any], forecast_on: Callable[..., Any], pipeline: str, issue_time: str | None, present: datetime
) -> None:
    """The stages one after the other; what came of each is in the report as soon as it is over."""
    settings, store = _open(pipeline)
    deadline = Deadline(settings.forecast.deadline)
    until = clock.parse_time(issue_time, settings.pipeline.timezone) if issue_time else present
    report["ingest"] = taken = _attempt(report, "ingest", ingest_task, pipeline, until.isoformat(), deadline.for_ingest)
    if taken:
        report["failures"] |= {f"ingest:{feed}": error for feed, error in taken["failures"].items()}
    report["issue_time"] = when = resolve_issue(pipeline, issue_time, present)
    logs.bind(issue_time=when)
    at = datetime.fromisoformat(when)
    if taken and until - at < REPLAY_AGE:
        report["late"] = {feed: counts["late"] for feed, counts in taken["feeds"].items() if counts["late"]}
    reason = retrain_reason(settings, store, at, _decay(store, settings.name, at))
    in_time = deadline.for_training >= settings.training.budget.total_seconds() + _STARTING
    report["train"] = _train(report, pipeline, when, reason, deadline.for_training) if in_time else None
    report["forecast"] = _forecast(report, forecast_on, pipeline, when, deadline)
    report["published_at"] = clock.now().isoformat()
    report["degraded"] = report["forecast"]["degraded"]
    logger.info("%s", summary.forecast_sentence(report["forecast"]))
    if not in_time:
        # It could not have served this night; its model is there for the next.
        limit = settings.training.budget.total_seconds() + _AFTERWARDS
        report["train"] = _train(report, pipeline, when, reason, limit)
    report["score"] = _attempt(report, "score", score_task, pipeline, until.isoformat(), _AFTERWARDS)
    report["alerts"] = report["score"]["alerts"] if report["score"] else []


def _close(report: dict[str, Any], pipeline: str) -> None:
    """Also a night that published nothing is on the record, on the page, in the metrics and among the artifacts."""
    settings, store = _open(pipeline)

    def keep(what: str, write: Callable[[], Any]) -> None:
        try:
            write()
        except Exception as error:  # whatever it is, the forecast is out, or what kept it from it is still to be said
            expected = isinstance(error, DataError | OSError)
            report["failures"][what] = str(error) if expected else f"{type(error).__name__}: {error}"
            logger.error("%s could not be kept: %s", what, error, exc_info=not expected)

    when = report.get("issue_time")
    if when:
        keep("record", lambda: nights.write(store, settings.name, datetime.fromisoformat(when), report))
    page = _attempt(report, "report", report_task, pipeline, clock.now().isoformat(), _AFTERWARDS)
    report["page"] = page["path"] if page else None
    keep("metrics", lambda: write_metrics(settings, store, report, clock.now()))
    artifacts.publish_artifacts(report)


def _decay(store: Store, name: str, at: datetime) -> str | None:
    """What the scores of the last night on record say against the model that serves."""
    try:
        before = [r for r in nights.read(store, name, at - _REMEMBERED) if r["issue_time"] < at.isoformat()]
    except DataError as error:
        logger.warning("the last nights' scores are not asked: %s", error)
        return None
    return before[-1]["score"]["decay"] if before and before[-1]["score"] else None


def resolve_issue(pipeline_path: str, issue_time: str | None, present: datetime) -> str:
    """The issue time asked for, else the last one that is not after `present` and the newest target (UTC, ISO)."""
    pipeline, store = _open(pipeline_path)
    at = pipeline.pipeline
    if issue_time is not None:
        return clock.parse_time(issue_time, at.timezone).isoformat()
    try:
        newest = newest_target(pipeline, store, present)
    except DataError as error:
        logger.warning("the issue time is that of the clock: %s", error)
        newest = None
    return clock.default_issue_time(at.issue_at, at.timezone, newest, present).isoformat()


def final_state(report: dict[str, Any], published: ForecastReport, degraded: bool) -> State:
    """Completed, by a name that tells a whole night from a degraded one."""
    name = "CompletedPartial" if degraded else "Completed"
    return Completed(message=summary.forecast_sentence(published), data=report, name=name)


def _train(report: dict[str, Any], pipeline: str, when: str, reason: str | None, limit: float) -> dict[str, Any] | None:
    if reason is None:
        return {"trained": False}
    logger.info("training: %s", reason)
    manifest = _attempt(report, "train", train_task, pipeline, when, limit)
    return None if manifest is None else {"trained": True, "due": reason, **manifest}


def _forecast(report: dict[str, Any], run, pipeline: str, when: str, deadline: Deadline) -> dict[str, Any]:
    """The published forecast: the model's, or the baseline's if the model's cannot be had in time."""
    stale = summary.stale_reason(report["failures"])
    limit = deadline.for_forecast
    published = _attempt(report, "forecast", run, pipeline, when, limit, needs_champion=False, stale_reason=stale)
    if published is not None:
        return published
    without = f"the model gave no forecast: {report['failures']['forecast']}"
    limit = max(deadline.remaining, _LAST_RESORT)
    return forecast_task(pipeline, when, limit, needs_champion=False, no_model_reason=without)


def _attempt(report: dict[str, Any], stage: str, run, *arguments: Any, **options: Any) -> dict[str, Any] | None:
    """The result of a stage, or None with its failure in the report: the night goes on without it."""
    begun = clock.now()
    state = run(*arguments, **options, return_state=True)
    report["seconds"][stage] = round((clock.now() - begun).total_seconds(), 2)
    if state.is_completed():
        return state.result()
    error = state.result(raise_on_failure=False)
    report["failures"][stage] = str(error)
    logger.error("%s failed, the night goes on without it: %s", stage, error)
    return None


def _open(path: str) -> tuple[Pipeline, Store]:
    settings = pipeline_file.read(path)
    return settings, open_store(settings.pipeline.store)
