"""Prefect's objects besides the deployments: the work pool, its queues, the automations and the webhook for alerts.

Run it with the settings of a client: `python -m deployments.objects`. Objects that exist are updated.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists
from prefect.types import SecretDict

from deployments.installation import POOL

#: Queues of the pool. A worker takes runs from all of them, unless its command line names one.
QUEUES = ("nightly", "training")
BLOCK = "gatecast-alerts"
#: Beginning of the names of all automations of this project.
_PREFIX = "gatecast: "


def ensure_objects(webhook: str | None) -> list[str]:
    """Create or update everything, and return the names of the automations.

    Args:
        webhook: Address that gets a message about each failure. With None, failures are visible in Prefect only.
    """
    with get_client(sync_client=True) as client:
        _ensure_pool(client)
        wanted = read_automations(_save_webhook(webhook) if webhook else None)
        for automation in wanted:
            _ensure_automation(client, automation)
        _remove_former_automations(client)
        _remove_former_deployments(client)
    return [automation.name for automation in wanted]


def read_automations(block: UUID | None) -> list[AutomationCore]:
    """Return the automations of automations.yaml.

    Args:
        block: The block that sends notifications. With None, automations that send one are left out.
    """
    wanted = []
    for automation in _automations_file():
        senders = [action for action in automation["actions"] if action["type"] == "send-notification"]
        for action in senders:
            action["block_document_id"] = block
        if block or not senders:
            wanted.append(AutomationCore.model_validate(automation))
    return wanted


def _automations_file() -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("automations.yaml").read_text())
    return content


def _ensure_automation(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Create an automation, or replace the one of this name that differs.

    An equal one is kept, because it remembers which runs it waits for.
    """
    existing = client.read_automations_by_name(wanted.name)
    kept = next((old for old in existing if old.model_dump(exclude={"id"}) == wanted.model_dump()), None)
    for old in existing:
        if old is not kept:
            client.delete_automation(old.id)
    if kept is None:
        client.create_automation(wanted)


def _remove_former_automations(client: SyncPrefectClient) -> None:
    """Delete automations of this project that automations.yaml no longer names, so that none acts twice."""
    current = {automation["name"] for automation in _automations_file()}
    for automation in client.read_automations():
        if automation.name.startswith(_PREFIX) and automation.name not in current:
            client.delete_automation(automation.id)


def _remove_former_deployments(client: SyncPrefectClient) -> None:
    """Delete deployments with the names of version 0.2.0, which were those of their pipelines, so that none runs twice.

    The present names follow from flows/deployment_plan.py.
    """
    tags = DeploymentFilterTags(all_=["gatecast"])
    for deployment in client.read_deployments(deployment_filter=DeploymentFilter(tags=tags)):
        if deployment.name in deployment.tags:
            client.delete_resource_owned_automations(f"prefect.deployment.{deployment.id}")
            client.delete_deployment(deployment.id)


def _save_webhook(webhook: str) -> UUID:
    """Save the address in a webhook block of Prefect, and return the block's id.

    The address is a secret, because it lets anybody post. Prefect stores it encrypted.
    """
    block = CustomWebhookNotificationBlock(  # type: ignore[call-arg]
        name="gatecast", url="{{address}}", json_data={"text": "{{subject}}\n{{body}}"},
        secrets=SecretDict({"address": webhook}),
    )  # fmt: skip
    identity: Any = block.save(BLOCK, overwrite=True)
    return UUID(str(identity))


def _ensure_pool(client: SyncPrefectClient) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    except ObjectAlreadyExists:
        pass
    existing = {queue.name for queue in client.read_work_queues(work_pool_name=POOL)}
    for queue in QUEUES:
        if queue not in existing:
            client.create_work_queue(name=queue, work_pool_name=POOL)


if __name__ == "__main__":
    for name in ensure_objects(os.environ.get("GATECAST_ALERT_WEBHOOK") or None):
        print(name)
