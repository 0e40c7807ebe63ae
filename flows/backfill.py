"""The backfill flow: missed nights, each from what was known then."""

from __future__ import annotations

from prefect import flow, task
from prefect.runtime import flow_run
from prefect.states import Completed, State

from flows import clock, logs, summary
from flows.nightly import TASK
from flows.parameters import Day, PipelineFile
from flows.settings import file as pipeline_file
from flows.stage_process import runner
from storage.schemas.records import BackfillReport


@task(name="backfill", **TASK)
def backfill_task(pipeline_path: str, start: str, end: str) -> BackfillReport:
    """All missed nights between two local days."""
    return runner.run_stage("backfill", pipeline_path, clock.now().isoformat(), None, start=start, end=end)


@flow(name="backfill", flow_run_name="backfill {pipeline} {start} {end}", persist_result=False)
def backfill(pipeline: PipelineFile, start: Day, end: Day) -> State:
    """Publish the forecasts missing between the local days `start` and `end` (ISO 8601), both included."""
    clock.parse_day(start), clock.parse_day(end)
    logs.bind(run=flow_run.id, pipeline=pipeline_file.read(pipeline).name, issue_time=None)
    report = backfill_task(pipeline, start, end)
    name = "CompletedPartial" if report["degraded"] else "Completed"
    return Completed(message=summary.backfill_sentence(report), data=report, name=name)
