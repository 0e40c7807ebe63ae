"""Names of the stages and steps of a run, as its record writes them: `ingest:weather`, `forecast:latest`."""

from __future__ import annotations


def step_name(stage: str) -> str:
    """Return the name of a stage or step for people, such as `ingest of weather`."""
    first, _, part = stage.partition(":")
    return f"{first} of {part}" if part and first == "ingest" else f"{first}, {part}" if part else stage
