"""Final states of the flow runs that publish forecasts."""

from __future__ import annotations

from typing import Any

from prefect import State
from prefect.states import Completed

from storage.redaction import redact


def completed_state(message: str, report: Any, is_degraded: bool) -> State[Any]:
    """Return the state Completed, named CompletedPartial if the forecast is degraded, with the report as its data."""
    return Completed(message=redact(message), data=report, name="CompletedPartial" if is_degraded else "Completed")
