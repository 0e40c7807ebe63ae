"""The ingest flow: feeds into the history, alone."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows import clock, pipeline_file
from flows.nightly import ingest_task


@flow(name="ingest", persist_result=False)
def ingest(pipeline: str, as_of: str | None = None) -> dict[str, Any]:
    """Take in what every feed says as of `as_of` (ISO 8601), by default the run's scheduled start."""
    present = flow_run.scheduled_start_time or clock.now()
    zone = pipeline_file.read(pipeline).pipeline.timezone
    return ingest_task(pipeline, (clock.parse(as_of, zone) if as_of else present).isoformat())
