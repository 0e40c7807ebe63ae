"""The train flow: a challenger, whether or not one is due."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows import clock, logs
from flows.nightly import resolve_issue, train_task
from flows.parameters import IssueTime, PipelineFile
from flows.settings import file as pipeline_file


@flow(name="train", flow_run_name="train {pipeline}", persist_result=False)
def train(pipeline: PipelineFile, as_of: IssueTime | None = None) -> dict[str, Any]:
    """Train on what was known at `as_of` (ISO 8601), by default the last issue time at the scheduled start."""
    present = flow_run.scheduled_start_time or clock.now()
    when = resolve_issue(pipeline, as_of, present)
    logs.bind(run=flow_run.id, pipeline=pipeline_file.read(pipeline).name, issue_time=when)
    return train_task(pipeline, when)
