"""The ingest flow: feeds into the history, alone; it says when the data arrived that a forecast waits for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow
from prefect.events import emit_event
from prefect.runtime import flow_run

from flows import clock, logs
from flows.nightly import ingest_task, resolve_issue
from flows.parameters import IssueTime, PipelineFile
from flows.settings import file as pipeline_file
from flows.stages.arrival import awaits_data
from storage.store import open_store

ARRIVED = "gatecast.data.arrived"


@flow(name="ingest", flow_run_name="ingest {pipeline}", persist_result=False)
def ingest(pipeline: PipelineFile, as_of: IssueTime | None = None) -> dict[str, Any]:
    """Take in what every feed says as of `as_of` (ISO 8601), by default the run's scheduled start.

    Rows that were not there before give the event `gatecast.data.arrived`. A night takes in its data itself and
    gives none, or it would start itself again.
    """
    present = flow_run.scheduled_start_time or clock.now()
    settings = pipeline_file.read(pipeline)
    logs.bind(run=flow_run.id, pipeline=settings.name, issue_time=None)
    until = clock.parse_time(as_of, settings.pipeline.timezone) if as_of else present
    report = ingest_task(pipeline, until.isoformat())
    added = {name: counts["added"] for name, counts in report["feeds"].items()}
    if any(added.values()):
        issue = resolve_issue(pipeline, None, until)
        waiting = awaits_data(settings, open_store(settings.pipeline.store), datetime.fromisoformat(issue))
        emit_event(
            ARRIVED,
            resource={
                "prefect.resource.id": f"gatecast.pipeline.{settings.name}",
                "prefect.resource.name": settings.name,
                "gatecast.forecast": "awaited" if waiting else "published",
            },
            payload={"issue_time": issue, "added": added},
        )
    return report
