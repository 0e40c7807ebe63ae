"""Types of the flows' parameters. Prefect refuses other values before a run exists, and derives its form from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.settings.types import DURATION

# A rough form only, because `clock.parse_time` decides.
_TIME = r"\d{4}[-0-9W]{3,6}([T ][0-9:.,]+(Z|[+-][0-9:]+)?)?"

# Deployments name the flows' parameter `pipeline`. It is this path.
PipelineFile = Annotated[
    str,
    Field(
        title="Pipeline file", description="Path of the TOML file, relative to the working directory of the run.",
        pattern=r"\.toml$", examples=["deployments/load.toml"],
    ),
]  # fmt: skip
IssueTime = Annotated[
    str,
    Field(
        title="Issue time", pattern=f"^({_TIME}|newest)$",
        examples=["2018-09-01", "2018-09-01T00:00-04:00", "newest"],
        description="ISO 8601; without an offset in the pipeline's time zone; a day means its issue time. newest: the "
        "last issue time for which the target is known. Empty: the last issue time at the scheduled start.",
    ),
]  # fmt: skip
AsOf = Annotated[
    str,
    Field(
        title="As of", pattern=f"^{_TIME}$", examples=["2018-09-01", "2018-09-01T00:00-04:00"],
        description="ISO 8601; without an offset in the pipeline's time zone; a day means its issue time. Empty: the "
        "scheduled start.",
    ),
]  # fmt: skip
Day = Annotated[
    str,
    Field(
        description="A local day, ISO 8601. Start and end are included.",
        pattern=r"^\d{4}-?(\d{2}-?\d{2}|W\d{2}-?\d)$",
        examples=["2018-09-01"],
    ),
]
RetrainInterval = Annotated[
    str,
    Field(
        title="Retrain every",
        description="Time between two trainings: a number and a unit of s, m, h or d. Empty: training.every of the "
        "pipeline file.",
        pattern=f"^{DURATION}$", examples=["7d"],
    ),
]  # fmt: skip
OutputFolder = Annotated[
    str,
    Field(
        title="Output",
        description="Folder for forecasts.parquet and scores.parquet. Empty: the files are not written.",
        min_length=1,
    ),
]
