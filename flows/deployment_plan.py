"""Deployments of a pipeline: what Prefect runs, when and why. `gatecast deploy` creates them.

`deployments/prefect.yaml` declares the same for the pipelines of the examples, and a test compares both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from flows.settings.pipeline import Pipeline

#: Event of an ingest that found new rows.
ARRIVED = "gatecast.data.arrived"
#: Queues of the work pool. A run of `TRAINING` may need torch.
NIGHTLY, TRAINING = "nightly", "training"
#: Image of a Kubernetes pool for the queue `TRAINING`. Runs in processes have no image.
TRAINING_IMAGE = "gatecast-training"
TAG = "gatecast"
#: Time between the issue time and the start of the nightly run, in which the newest data arrive.
DEFAULT_DELAY = timedelta(minutes=20)

# Local times that a clock change may skip or repeat.
_UNSAFE, _SAFE = (time(1), time(3)), time(3, 5)


@dataclass(frozen=True)
class Planned:
    """One deployment.

    Attributes:
        flow: Name of the flow, and of its module in `flows`.
        name: Name of the deployment.
        tag: What it does, in one word.
        description: What it does, in sentences.
        queue: Queue of the work pool.
        slug: Name of its schedule.
        cron: Its schedule in the pipeline's time zone, None if it is started by hand.
        starts_on_data: Whether new data that a forecast waits for start it.
    """

    flow: str
    name: str
    tag: str
    description: str
    queue: str
    slug: str | None = None
    cron: str | None = None
    starts_on_data: bool = False


def plan(settings: Pipeline, delay: timedelta = DEFAULT_DELAY) -> list[Planned]:
    """Return the deployments of a pipeline.

    Args:
        settings: Settings of the pipeline.
        delay: Time between the issue time and the start of the nightly run.
    """
    name = settings.name
    return [
        Planned(
            "nightly", f"{name}-publish-forecast", "nightly",
            "Ingest, train if due, forecast, score, report. The forecast file is published before forecast.deadline.",
            NIGHTLY, "nightly", nightly_cron(settings, delay), starts_on_data=True,
        ),
        Planned(
            "train", f"{name}-retrain-model", "retrain",
            "Train a challenger, whether or not a training is due, and promote it if it is better.",
            TRAINING, "retrain", "0 12 * * 6",
        ),
        Planned(
            "ingest", f"{name}-ingest-feeds", "ingest",
            "Read the feeds into the history. Emits the event gatecast.data.arrived if there are new data.",
            NIGHTLY, "hourly", "50 4-23 * * *",
        ),
        Planned(
            "backfill", f"{name}-backfill-forecasts", "backfill",
            "Publish missed forecasts, each from the data that were known at its issue time. Started by hand.",
            TRAINING,
        ),
        Planned(
            "report", f"{name}-write-page", "report", "Write the report page again.",
            NIGHTLY, "morning", "0 7 * * *",
        ),
    ]  # fmt: skip


def nightly_cron(settings: Pipeline, delay: timedelta) -> str:
    """Return the schedule of the nightly run in cron's form.

    A start between 01:00 and 03:00 is moved to 03:05, because a clock change may skip or repeat it. Business days are
    forecast after each of them: until noon on the next morning, later on the same day.
    """
    section = settings.pipeline
    start = (datetime.combine(datetime.min, section.issue_at) + delay).time()
    is_next_day = start < section.issue_at
    if _UNSAFE[0] <= start < _UNSAFE[1]:
        start = _SAFE
    days = "*"
    if section.frequency == "1b":
        days = "2-6" if section.issue_at < time(12) or is_next_day else "1-5"
    return f"{start.minute} {start.hour} * * {days}"


def automation_name(settings: Pipeline) -> str:
    """Return the name of the automation that starts the nightly run when data arrive."""
    return f"gatecast {settings.name}: publish the forecast when awaited data arrive"


def trigger_match(settings: Pipeline) -> dict[str, str]:
    """Return which events start a run: only if the last forecast is missing or lacks the new data."""
    return {"prefect.resource.id": f"gatecast.pipeline.{settings.name}", "gatecast.forecast": "awaited"}
