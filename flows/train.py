"""The train flow: a challenger, whether or not one is due."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows import clock
from flows.nightly import resolve_issue, train_task


@flow(name="train", persist_result=False)
def train(pipeline: str, as_of: str | None = None) -> dict[str, Any]:
    """Train on what was known at `as_of` (ISO 8601), by default the last issue time at the scheduled start."""
    present = flow_run.scheduled_start_time or clock.now()
    return train_task(pipeline, resolve_issue(pipeline, as_of, present))
