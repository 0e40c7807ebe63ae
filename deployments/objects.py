"""What Prefect is told besides the deployments: the work pool, its queues, the automations, where trouble is told.

Run with a client's settings: `python -m deployments.objects`. Whatever is there already is brought up to date.
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
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists
from prefect.types import SecretDict

from deployments.place import POOL

#: Of the pool: a worker takes all of them, or the one it is asked to.
QUEUES = ("nightly", "training")
BLOCK = "gatecast-alerts"


def ensure(webhook: str | None) -> list[str]:
    """Make or renew everything; returns the names of the automations.

    Args:
        webhook: where trouble is told; None: nowhere but in Prefect.
    """
    with get_client(sync_client=True) as client:
        _ensure_pool(client)
        wanted = automations(_alert_block(webhook) if webhook else None)
        for automation in wanted:
            _ensure_automation(client, automation)
    return [automation.name for automation in wanted]


def automations(block: UUID | None) -> list[AutomationCore]:
    """Those of automations.yaml; without a `block` to send notifications to, those that send none."""
    found: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("automations.yaml").read_text())
    wanted = []
    for automation in found:
        senders = [action for action in automation["actions"] if action["type"] == "send-notification"]
        for action in senders:
            action["block_document_id"] = block
        if block or not senders:
            wanted.append(AutomationCore.model_validate(automation))
    return wanted


def _ensure_automation(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """One of this name, which says this. What says it already stays: it knows of runs that it waits for a sign of."""
    there = client.read_automations_by_name(wanted.name)
    kept = next((old for old in there if old.model_dump(exclude={"id"}) == wanted.model_dump()), None)
    for old in there:
        if old is not kept:
            client.delete_automation(old.id)
    if kept is None:
        client.create_automation(wanted)


def _alert_block(webhook: str) -> UUID:
    """Prefect's own webhook block. The address is a secret, since whoever has it can post: it is kept encrypted."""
    block = CustomWebhookNotificationBlock(  # type: ignore[call-arg]
        name="gatecast", url="{{address}}", json_data={"text": "{{subject}}\n{{body}}"},
        secrets=SecretDict({"address": webhook}),
    )  # fmt: skip
    saved: Any = block.save(BLOCK, overwrite=True)
    return saved


def _ensure_pool(client: SyncPrefectClient) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    except ObjectAlreadyExists:
        pass
    there = {queue.name for queue in client.read_work_queues(work_pool_name=POOL)}
    for queue in QUEUES:
        if queue not in there:
            client.create_work_queue(name=queue, work_pool_name=POOL)


if __name__ == "__main__":
    for name in ensure(os.environ.get("GATECAST_ALERT_WEBHOOK") or None):
        print(name)
