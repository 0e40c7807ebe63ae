"""The backfill flow: missed runs, each from the data known at its issue time."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from flows import logs, run_names, summary
from flows.issue_time import check_days
from flows.parameters import Day, PipelineFile
from flows.settings import file as pipeline_file
from flows.states import completed_state
from flows.tasks import backfill_task


@flow(name="backfill", flow_run_name=run_names.name_by_days, persist_result=False)
def backfill(pipeline: PipelineFile, start: Day, end: Day) -> State[Any]:
    """Publish the forecasts missing between the local days `start` and `end` (ISO 8601), both included."""
    with pipeline_file.hold(pipeline) as (settings, _):
        check_days(settings, start, end)
        logs.bind(run=flow_run.id, pipeline=settings.name, issue_time=None)
        report = backfill_task(pipeline, start, end)
        is_degraded = summary.exit_status(report["degraded"], report["failures"]) == summary.DEGRADED
        return completed_state(summary.backfill_sentence(report), report, is_degraded)
