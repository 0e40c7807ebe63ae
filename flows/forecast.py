"""The forecast flow: one forecast file from the champion and the history."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run

from flows import clock, logs, run_names, sharded, summary
from flows.issue_time import choose_issue_time_without_history
from flows.parameters import IssueTime, PipelineFile
from flows.settings import file as pipeline_file
from flows.states import completed_state
from storage.schemas.records import ForecastReport


@flow(name="forecast", flow_run_name=run_names.name_by_issue_time, persist_result=False)
def forecast(pipeline: PipelineFile, issue_time: IssueTime | None = None) -> State[Any]:
    """Publish the forecast of `issue_time` (ISO 8601). Default: the last issue time at the scheduled start."""
    scheduled = flow_run.scheduled_start_time or clock.now()
    with pipeline_file.hold(pipeline) as (settings, store):
        chosen_time = choose_issue_time_without_history(settings, store, issue_time, scheduled)
        run_names.rename(settings, chosen_time)
        chosen = chosen_time.isoformat()
        logs.bind(run=flow_run.id, pipeline=settings.name, issue_time=chosen)
        # A nightly run publishes in any case. Alone, a model that must run on the first provider is required.
        report: ForecastReport = sharded.forecast_runner(settings.scale.engine)(
            pipeline, chosen, needs_champion=settings.forecast.strict
        )
        is_degraded = summary.exit_status(report["degraded"], report["failures"]) == summary.DEGRADED
        return completed_state(summary.run_sentence(report, report["failures"]), report, is_degraded)
