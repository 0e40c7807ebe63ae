"""Deployments of one pipeline on a Prefect server: created, updated, and removed if they are no longer planned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError
from prefect.schedules import Cron
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType

from flows.backfill import backfill
from flows.deployment_plan import (
    ARRIVED,
    NIGHTLY,
    TAG,
    TRAINING,
    TRAINING_IMAGE,
    Planned,
    automation_name,
    plan,
    trigger_match,
)
from flows.ingest import ingest
from flows.nightly import nightly
from flows.report import report
from flows.settings.pipeline import Pipeline
from flows.train import train

_FLOWS: dict[str, Flow[..., Any]] = {
    "backfill": backfill, "ingest": ingest, "nightly": nightly, "report": report, "train": train,
}  # fmt: skip


class DeployError(Exception):
    """A server that is not configured, cannot be reached or refuses. The message says what to do."""


class DeployReport(TypedDict):
    """Result of a deploy: the full names of the deployments."""

    pipeline: str
    deployed: list[str]
    removed: list[str]


@dataclass(frozen=True)
class DeployOptions:
    """Options of a deploy.

    Attributes:
        pipeline_path: Path of the pipeline file on the worker.
        work_pool: Name of the work pool. It is created, for processes, if it does not exist.
        delay: Time between the issue time and the start of the nightly run.
        is_active: Whether the schedules start runs.
    """

    pipeline_path: str
    work_pool: str
    delay: timedelta
    is_active: bool


def deploy(settings: Pipeline, options: DeployOptions) -> DeployReport:
    """Create or update the deployments of a pipeline, and remove its others.

    Raises:
        DeployError: The server cannot be reached or refuses.
    """
    planned = plan(settings, options.delay)

    def apply(client: SyncPrefectClient) -> DeployReport:
        _ensure_pool(client, options.work_pool)
        for one in planned:
            _to_deployment(settings, options, one).apply()
        names = [f"{one.flow}/{one.name}" for one in planned]
        return {
            "pipeline": settings.name,
            "deployed": names,
            "removed": _remove_others(client, settings.name, {one.name for one in planned}),
        }

    return _call(apply)


def undeploy(settings: Pipeline) -> DeployReport:
    """Remove all deployments of a pipeline with their schedules and automations. Its store stays.

    Raises:
        DeployError: The server cannot be reached or refuses.
    """
    return _call(
        lambda client: {
            "pipeline": settings.name, "deployed": [], "removed": _remove_others(client, settings.name, set()),
        }
    )  # fmt: skip


def _call(action: Any) -> DeployReport:
    """Return the result of an action on the configured server."""
    address = PREFECT_API_URL.value()
    if not address:
        raise DeployError(
            "no Prefect server is configured. Set PREFECT_API_URL, for example to http://127.0.0.1:4200/api."
        )
    try:
        with get_client(sync_client=True) as client:
            result: DeployReport = action(client)
            return result
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        hint = " Set PREFECT_API_AUTH_STRING to the key of the server." if status in (401, 403) else ""
        raise DeployError(
            f"Prefect's server {address} refused with status {status}: {error.response.text}.{hint}"
        ) from None
    except (httpx.HTTPError, RuntimeError) as error:
        raise DeployError(
            f"Prefect's server {address} cannot be reached ({error}). Check that it runs, and PREFECT_API_URL."
        ) from None


def _to_deployment(settings: Pipeline, options: DeployOptions, one: Planned) -> RunnerDeployment:
    zone = settings.pipeline.timezone
    schedules = [Cron(one.cron, timezone=zone, active=options.is_active, slug=one.slug)] if one.cron else []
    triggers: list[Any] = [
        DeploymentEventTrigger(
            name=automation_name(settings), match=ResourceSpecification({**trigger_match(settings)}), expect={ARRIVED},
            enabled=options.is_active,
        )
    ]  # fmt: skip
    return RunnerDeployment.from_flow(
        _FLOWS[one.flow],
        name=one.name,
        description=one.description,
        tags=[TAG, settings.name, one.tag],
        parameters={"pipeline": options.pipeline_path},
        schedules=schedules,
        triggers=triggers if one.starts_on_data else [],
        # Two runs of one deployment never overlap: the second waits for the first.
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        enforce_parameter_schema=True,
        work_pool_name=options.work_pool,
        work_queue_name=one.queue,
        job_variables={"image": TRAINING_IMAGE} if one.queue == TRAINING else {},
        # A worker needs the installed package only, not a copy of the repository at a known path.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _ensure_pool(client: SyncPrefectClient, name: str) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    except ObjectAlreadyExists:
        pass
    existing = {queue.name for queue in client.read_work_queues(work_pool_name=name)}
    for queue in (NIGHTLY, TRAINING):
        if queue not in existing:
            client.create_work_queue(name=queue, work_pool_name=name)


def _remove_others(client: SyncPrefectClient, pipeline: str, kept: set[str]) -> list[str]:
    """Delete the deployments of a pipeline that are not kept, with their automations, and return their names."""
    tags = DeploymentFilterTags(all_=[TAG, pipeline])
    flows = {flow.id: flow.name for flow in client.read_flows()}
    removed = []
    for one in client.read_deployments(deployment_filter=DeploymentFilter(tags=tags)):
        if one.name not in kept:
            client.delete_resource_owned_automations(f"prefect.deployment.{one.id}")
            client.delete_deployment(one.id)
            removed.append(f"{flows.get(one.flow_id, '?')}/{one.name}")
    return sorted(removed)
