"""The nightly flow: ingest, train if due, forecast, report. Each stage is one task; frames never pass between.

A stage that fails does not stop the night: the forecast is made from what there is, and the run ends as
degraded. Only when nothing could be published does the run fail.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Completed, State

from flows import clock, outcome, pipeline_file
from flows.stages.forecast import forecast as forecast_stage
from flows.stages.ingest import ingest as ingest_stage
from flows.stages.panels import newest_target
from flows.stages.train import due
from flows.stages.train import train as train_stage
from storage.store import Store

logger = logging.getLogger(__name__)

_TASK: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


@task(name="ingest", retries=2, retry_delay_seconds=[2, 10], **_TASK)
def ingest_task(pipeline_path: str, as_of: str) -> dict[str, Any]:
    """Feeds into the history."""
    pipeline, store = _open(pipeline_path)
    return ingest_stage(pipeline, store, clock.parse(as_of, "UTC"), clock.now(), _log)


@task(name="train", **_TASK)
def train_task(pipeline_path: str, issue_time: str, only_if_due: bool = True) -> dict[str, Any]:
    """A challenger, if one is due."""
    pipeline, store = _open(pipeline_path)
    at = clock.parse(issue_time, "UTC")
    reason = due(pipeline, store, at) if only_if_due else "asked for"
    if reason is None:
        return {"trained": False}
    logger.info("training: %s", reason)
    return {"trained": True, "due": reason, **train_stage(pipeline, store, at, clock.now(), _log)}


@task(name="forecast", **_TASK)
def forecast_task(pipeline_path: str, issue_time: str, needs_champion: bool = False) -> dict[str, Any]:
    """The forecast file."""
    pipeline, store = _open(pipeline_path)
    return forecast_stage(pipeline, store, clock.parse(issue_time, "UTC"), needs_champion)


@flow(name="nightly", flow_run_name="nightly {pipeline}", persist_result=False)
def nightly(pipeline: str, issue_time: str | None = None) -> State:
    """One night of a pipeline.

    Args:
        pipeline: path of the pipeline file.
        issue_time: ISO 8601; by default the last one at the run's scheduled start.

    Returns:
        Completed, or Completed named `CompletedPartial` when some rows are not the champion's; its data is the
        report of the night.
    """
    present = flow_run.scheduled_start_time or clock.now()
    settings, _ = _open(pipeline)
    report: dict[str, Any] = {"pipeline": settings.name, "failures": {}}
    until = clock.parse(issue_time, settings.pipeline.timezone) if issue_time else present
    report["ingest"] = _attempt(report, "ingest", ingest_task, pipeline, until.isoformat())
    report["issue_time"] = when = resolve_issue(pipeline, issue_time, present)
    report["train"] = _attempt(report, "train", train_task, pipeline, when)
    report["forecast"] = forecast_task(pipeline, when)
    report["degraded"] = report["forecast"]["degraded"] or bool(report["failures"])
    _artifacts(report)
    return final_state(report, report["forecast"], report["degraded"])


def resolve_issue(pipeline_path: str, issue_time: str | None, present: datetime) -> str:
    """The issue time asked for, else the last one that is not after `present` and the newest target (UTC, ISO)."""
    pipeline, store = _open(pipeline_path)
    at = pipeline.pipeline
    if issue_time is not None:
        return clock.parse(issue_time, at.timezone).isoformat()
    newest = newest_target(pipeline, store, present)
    return clock.default_issue(at.issue_at, at.timezone, newest, present).isoformat()


def final_state(report: dict[str, Any], published: dict[str, Any], degraded: bool) -> State:
    """Completed, by a name that tells a whole night from a degraded one."""
    name = "CompletedPartial" if degraded else "Completed"
    return Completed(message=outcome.sentence(published), data=report, name=name)


def _attempt(report: dict[str, Any], stage: str, run, *arguments: str) -> dict[str, Any] | None:
    """The result of a stage, or None with its failure in the report: the night goes on without it."""
    state = run(*arguments, return_state=True)
    if state.is_completed():
        return state.result()
    error = state.result(raise_on_failure=False)
    report["failures"][stage] = str(error)
    logger.error("%s failed, the night goes on without it: %s", stage, error)
    return None


def _artifacts(report: dict[str, Any]) -> None:
    key = report["pipeline"]
    lines = [f"**{outcome.sentence(report['forecast'])}**", "", f"issue time {report['issue_time']}", ""]
    lines += [f"- {line}" for line in outcome.why(report["forecast"])]
    lines += [f"- {stage} failed: {error}" for stage, error in report["failures"].items()]
    if report["train"] and report["train"]["trained"]:
        lines += ["", report["train"]["decision"]["reason"]]
        create_table_artifact(
            key=f"{key}-scores", table=outcome.score_rows(report["train"]),
            description=outcome.held_out(report["train"]),
        )  # fmt: skip
    if report["ingest"]:
        create_table_artifact(
            key=f"{key}-ingest", table=outcome.feed_rows(report["ingest"]), description="Rows of each feed"
        )
    create_markdown_artifact(key=f"{key}-published", markdown="\n".join(lines), description="What was published")


def _open(path: str) -> tuple[pipeline_file.Pipeline, Store]:
    settings = pipeline_file.read(path)
    return settings, Store(settings.pipeline.store)


def _log(what: str, done: float) -> None:
    logger.info("%s: %.0f%%", what, 100 * done)
