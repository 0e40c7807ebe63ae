"""The report flow: the report page, written again from the store."""

from __future__ import annotations

from prefect import flow
from prefect.runtime import flow_run

from flows import clock, logs, run_names
from flows.parameters import PipelineFile
from flows.settings import file as pipeline_file
from flows.tasks import report_task
from storage.schemas.records import PageReport

_LIMIT = 900.0  # seconds


@flow(name="report", flow_run_name=run_names.name_by_moment, persist_result=False)
def report(pipeline: PipelineFile) -> PageReport:
    """Write the page, and return its path and its verdict."""
    logs.bind(run=flow_run.id, pipeline=pipeline_file.read(pipeline).name, issue_time=None)
    return report_task(pipeline, clock.now().isoformat(), _LIMIT)
