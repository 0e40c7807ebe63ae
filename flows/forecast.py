"""The forecast flow: champion and history into one forecast file, alone."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import State

from flows import clock, logs, sharded
from flows.nightly import final_state, forecast_task, resolve_issue
from flows.parameters import IssueTime, PipelineFile
from flows.settings import file as pipeline_file


@flow(name="forecast", flow_run_name="forecast {pipeline}", persist_result=False)
def forecast(pipeline: PipelineFile, issue_time: IssueTime | None = None) -> State:
    """Publish the forecast of `issue_time` (ISO 8601), by default the last one at the scheduled start."""
    present = flow_run.scheduled_start_time or clock.now()
    settings = pipeline_file.read(pipeline)
    when = resolve_issue(pipeline, issue_time, present)
    logs.bind(run=flow_run.id, pipeline=settings.name, issue_time=when)
    forecast_on = sharded.forecast_flow(settings.scale.engine) or forecast_task
    published: Any = forecast_on(pipeline, when)
    return final_state(published, published, published["degraded"])
