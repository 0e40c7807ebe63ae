"""The ingest flow: feeds into the history. It emits an event when new data arrived that a forecast waits for."""

from __future__ import annotations

from prefect import flow
from prefect.events import emit_event
from prefect.runtime import flow_run

from flows import clock, logs, run_names
from flows.deployment_plan import ARRIVED
from flows.issue_time import choose_issue_time_without_history, parse_requested
from flows.parameters import AsOf, PipelineFile
from flows.settings import file as pipeline_file
from flows.stages.arrival import awaits_data
from flows.tasks import ingest_task
from storage.schemas import DataError
from storage.schemas.records import IngestReport


@flow(name="ingest", flow_run_name=run_names.name_by_moment, persist_result=False)
def ingest(pipeline: PipelineFile, as_of: AsOf | None = None) -> IngestReport:
    """Write to the history what every feed holds as of `as_of` (ISO 8601). Default: the run's scheduled start.

    New rows cause the event `gatecast.data.arrived`. A nightly run ingests its data itself and emits no event, because
    the event would start it again.

    Raises:
        DataError: Most rows of a feed are refused. The other rows are stored, and the event is emitted.
    """
    scheduled = flow_run.scheduled_start_time or clock.now()
    with pipeline_file.hold(pipeline) as (settings, store):
        logs.bind(run=flow_run.id, pipeline=settings.name, issue_time=None)
        until = parse_requested(settings, as_of) if as_of else scheduled
        report = ingest_task(pipeline, until.isoformat())
        added = {name: feed["added"] for name, feed in report["feeds"].items()}
        if any(added.values()):
            issue_time = choose_issue_time_without_history(settings, store, None, until)
            is_awaited = awaits_data(settings, store, issue_time)
            emit_event(
                ARRIVED,
                resource={
                    "prefect.resource.id": f"gatecast.pipeline.{settings.name}",
                    "prefect.resource.name": settings.name,
                    "gatecast.forecast": "awaited" if is_awaited else "published",
                },
                payload={"issue_time": issue_time.isoformat(), "added": added},
            )
        if report["failures"]:
            raise DataError("; ".join(report["failures"].values()))
        return report
