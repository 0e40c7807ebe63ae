"""The report flow: the page people read in the morning, made again from what the store holds."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows import clock, logs
from flows.nightly import report_task
from flows.parameters import PipelineFile
from flows.settings import file as pipeline_file

_LIMIT = 900.0  # seconds


@flow(name="report", flow_run_name="report {pipeline}", persist_result=False)
def report(pipeline: PipelineFile) -> dict[str, Any]:
    """Write the page; returns where it is, its colour and its sentence."""
    logs.bind(run=flow_run.id, pipeline=pipeline_file.read(pipeline).name, issue_time=None)
    return report_task(pipeline, clock.now().isoformat(), _LIMIT)
