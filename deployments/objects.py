"""What Prefect is told besides the deployments: the work pool, its queues, the automations, where failures are told.

Run with a client's settings: `python -m deployments.objects`. Whatever is there already is brought up to date.
"""

from __future__ import annotations

import os
from datetime import timedelta
from uuid import UUID

from prefect.automations import Automation
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists

from deployments.place import POOL

#: Of the pool: a worker takes all of them, or the one it is asked to.
QUEUES = ("nightly", "training")
BLOCK = "gatecast-alerts"

_RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
_HEARTBEAT = "prefect.flow-run.heartbeat"
_SILENT = timedelta(seconds=90)  # three heartbeats
_NEVER_STARTED = timedelta(minutes=10)
_BAD = ("Failed", "Crashed", "TimedOut", "Late", "CompletedPartial")
_SUBJECT = "Gatecast: {{ flow_run.name }} {{ flow_run.state.name }}"
_BODY = "{{ flow_run.state.message }}\nparameters: {{ flow_run.parameters }}\nrun: {{ flow_run.id }}"


def automations(block: UUID | None) -> list[Automation]:
    """What Prefect does by itself.

    Args:
        block: where failures are told; None: nowhere.
    """
    crash = [
        Automation(
            name="gatecast: a run that went silent is crashed",
            description="Its worker or machine is gone: else it would be Running, and hold its place, for ever.",
            # Any sign of life will do; also the end of a degraded night, whose state has a name of its own.
            trigger=EventTrigger(
                after={_HEARTBEAT, "prefect.flow-run.Running"}, expect={"prefect.flow-run.*"}, match=_RUNS,
                for_each={"prefect.resource.id"}, posture=Posture.Proactive, threshold=1, within=_SILENT,
            ),
            actions=[ChangeFlowRunState(state=StateType.CRASHED, message="No heartbeat for 90 seconds.")],
        ),
        Automation(
            name="gatecast: a run that never started is crashed",
            description="A worker took it and went away before it ran.",
            trigger=EventTrigger(
                after={"prefect.flow-run.Pending"}, expect={"prefect.flow-run.*"}, match=_RUNS,
                for_each={"prefect.resource.id"}, posture=Posture.Proactive, threshold=1, within=_NEVER_STARTED,
            ),
            actions=[ChangeFlowRunState(state=StateType.CRASHED, message="Taken by a worker, never started.")],
        ),
    ]  # fmt: skip
    if block is None:
        return crash
    tell = Automation(
        name="gatecast: failures are told",
        description="Failed, crashed, late or degraded: docs/runbook.md says what to do about each.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{name}" for name in _BAD}, match=_RUNS, for_each={"prefect.resource.id"},
            posture=Posture.Reactive, threshold=1,
        ),
        actions=[SendNotification(block_document_id=block, subject=_SUBJECT, body=_BODY)],
    )  # fmt: skip
    return [*crash, tell]


def alert_block(webhook: str) -> UUID:
    """Keep the address that failures are posted to, as Prefect's own webhook block; its secret part is encrypted."""
    block = CustomWebhookNotificationBlock(
        name="gatecast", url="{{address}}", json_data={"text": "{{subject}}\n{{body}}"}, secrets={"address": webhook}
    )
    return block.save(BLOCK, overwrite=True)  # type: ignore[return-value]


def ensure(webhook: str | None) -> list[str]:
    """Make or renew everything; returns the names of the automations."""
    with get_client(sync_client=True) as client:
        _ensure_pool(client)
        wanted = automations(alert_block(webhook) if webhook else None)
        for automation in wanted:
            for old in client.read_automations_by_name(automation.name):
                client.delete_automation(old.id)
            client.create_automation(automation)
    return [automation.name for automation in wanted]


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
