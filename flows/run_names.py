"""Names of flow runs: the flow, the pipeline and the local issue time, such as `nightly load 2018-09-01 00:00`."""

from __future__ import annotations

import logging
from datetime import datetime
from zoneinfo import ZoneInfo

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from flows import clock
from flows.settings import file as pipeline_file
from flows.settings.pipeline import Pipeline

logger = logging.getLogger(__name__)

_FORM = "%Y-%m-%d %H:%M"


def name_by_issue_time() -> str:
    """Return the name of a run for one issue time: the requested one, or the last one at the scheduled start."""
    flow, given = str(flow_run.flow_name), flow_run.parameters
    settings = _read(given)
    if settings is None:
        return f"{flow} {given.get('pipeline')}"
    requested = given.get("issue_time") or given.get("as_of")
    if requested:
        return f"{flow} {settings.name} {requested}"
    scheduled = flow_run.scheduled_start_time or clock.now()
    issue_time = clock.last_issue_time(settings.pipeline.issue_at, settings.pipeline.timezone, scheduled)
    return issue_time_name(flow, settings, issue_time)


def name_by_moment() -> str:
    """Return the name of a run that reads what is known at a moment: the requested one, or the scheduled start."""
    flow, given = str(flow_run.flow_name), flow_run.parameters
    settings = _read(given)
    if settings is None:
        return f"{flow} {given.get('pipeline')}"
    moment = flow_run.scheduled_start_time or clock.now()
    return f"{flow} {settings.name} {given.get('as_of') or _local(settings, moment)}"


def name_by_days() -> str:
    """Return the name of a run over several local days."""
    flow, given = str(flow_run.flow_name), flow_run.parameters
    settings = _read(given)
    name = given.get("pipeline") if settings is None else settings.name
    return f"{flow} {name} {given.get('start')} to {given.get('end')}"


def issue_time_name(flow: str, settings: Pipeline, issue_time: datetime) -> str:
    """Return the name of a run of a flow for an issue time."""
    return f"{flow} {settings.name} {_local(settings, issue_time)}"


def rename(settings: Pipeline, issue_time: datetime) -> None:
    """Rename this run if its issue time is not the one that its name has. A server that fails keeps the old name."""
    name = issue_time_name(str(flow_run.flow_name), settings, issue_time)
    if flow_run.id is None or name == flow_run.name:
        return
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_name(flow_run.id, name)
    except Exception as error:  # the HTTP client and the server raise errors of many types
        logger.warning("Cannot rename the run to %r (%s: %s).", name, type(error).__name__, error)


def _read(parameters: dict[str, object]) -> Pipeline | None:
    """Return the settings of the run's pipeline, None if they are wrong. The run itself reports what is wrong."""
    try:
        return pipeline_file.read(str(parameters.get("pipeline")))
    except (pipeline_file.PipelineFileError, OSError):
        return None


def _local(settings: Pipeline, instant: datetime) -> str:
    return instant.astimezone(ZoneInfo(settings.pipeline.timezone)).strftime(_FORM)
