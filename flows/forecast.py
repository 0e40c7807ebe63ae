"""The forecast flow: champion and history into one forecast file, alone."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import State

from flows import clock, pipeline_file, sharded
from flows.nightly import final_state, forecast_task, resolve_issue


@flow(name="forecast", persist_result=False)
def forecast(pipeline: str, issue_time: str | None = None) -> State:
    """Publish the forecast of `issue_time` (ISO 8601), by default the last one at the scheduled start."""
    present = flow_run.scheduled_start_time or clock.now()
    forecast_on = sharded.forecaster(pipeline_file.read(pipeline).scale.engine) or forecast_task
    published: dict[str, Any] = forecast_on(pipeline, resolve_issue(pipeline, issue_time, present))
    return final_state(published, published, published["degraded"])
