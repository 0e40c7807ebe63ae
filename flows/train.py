"""The train flow: a challenger, whether or not a retrain is due."""

from __future__ import annotations

from prefect import flow
from prefect.runtime import flow_run

from flows import clock, logs, run_names
from flows.issue_time import choose_issue_time_without_history
from flows.parameters import IssueTime, PipelineFile
from flows.settings import file as pipeline_file
from flows.tasks import train_task
from storage.schemas.records import Manifest


@flow(name="train", flow_run_name=run_names.name_by_issue_time, persist_result=False)
def train(pipeline: PipelineFile, as_of: IssueTime | None = None) -> Manifest:
    """Train on the data known at `as_of` (ISO 8601). Default: the last issue time at the scheduled start."""
    scheduled = flow_run.scheduled_start_time or clock.now()
    with pipeline_file.hold(pipeline) as (settings, store):
        chosen_time = choose_issue_time_without_history(settings, store, as_of, scheduled)
        run_names.rename(settings, chosen_time)
        chosen = chosen_time.isoformat()
        logs.bind(run=flow_run.id, pipeline=settings.name, issue_time=chosen)
        return train_task(pipeline, chosen)
