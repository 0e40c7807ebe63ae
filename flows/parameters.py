"""What a flow may be given: Prefect refuses anything else before a run exists, and makes the form of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.settings.types import DURATION

# Loose on purpose: `clock.parse_time` judges a time, here only what cannot be one is refused.
_TIME = r"^\d{4}[-0-9W]{3,6}([T ][0-9:.,]+(Z|[+-][0-9:]+)?)?$"

PipelineFile = Annotated[
    str,
    Field(
        title="Pipeline file", description="Path of the TOML file, from the folder that the run works in.",
        pattern=r"\.toml$", examples=["deployments/load.toml"],
    ),
]  # fmt: skip
IssueTime = Annotated[
    str,
    Field(
        title="Issue time", pattern=_TIME, examples=["2018-09-01", "2018-09-01T00:00-04:00"],
        description="ISO 8601, without an offset in the pipeline's zone. Empty: the last one at the scheduled start.",
    ),
]  # fmt: skip
Day = Annotated[
    str,
    Field(
        description="A local day, both ends included.",
        pattern=r"^\d{4}-?(\d{2}-?\d{2}|W\d{2}-?\d)$",
        examples=["2018-09-01"],
    ),
]
RetrainInterval = Annotated[
    str,
    Field(
        title="Retrain every", description="A number and a unit of s, m, h or d. Empty: the file's training.every.",
        pattern=f"^{DURATION}$", examples=["7d"],
    ),
]  # fmt: skip
OutputFolder = Annotated[
    str,
    Field(title="Output", description="Folder for forecasts.parquet and scores.parquet. Empty: none.", min_length=1),
]
