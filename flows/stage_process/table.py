"""Table of the stages that can run in a process of their own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from flows import clock
from flows.deadline import Deadline
from flows.stages.progress import Progress, no_progress

if TYPE_CHECKING:
    from flows.settings.file import OpenPipeline
    from storage.store import Store

# A stage process sets it once.
_progress: Progress = no_progress


class Job(TypedDict):
    """One run of a stage, as its process reads it.

    `pipeline` is the path of the pipeline file, and `text` the file's text, None for that which it has now. `time` is
    the as-of time, issue time or present time (ISO 8601).
    """

    stage: str
    pipeline: str
    text: str | None
    time: str
    options: dict[str, Any]


#: A stage: pipeline, time (as-of time, issue time or now) and options in; its report, ready for JSON, out.
Stage = Callable[["OpenPipeline", datetime, dict[str, Any]], Mapping[str, Any]]

# Each function imports its own stage, so that a process loads the libraries of one stage only.


def _ingest(pipeline: OpenPipeline, as_of: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.ingest import ingest

    return ingest(
        pipeline.settings, pipeline.store, as_of, clock.now(), _report_progress, timeout=options.get("within")
    )


def _decide(pipeline: OpenPipeline, issue_time: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.retrain import retrain_reason
    from flows.stages.trained_models import read_trained_models

    models = read_trained_models(pipeline.settings, pipeline.store, issue_time)
    return {"reason": retrain_reason(pipeline.settings, models, issue_time, options["alert_reason"])}


def _train(pipeline: OpenPipeline, as_of: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.train import train

    return train(pipeline.settings, pipeline.store, as_of, clock.now(), _report_progress)


def _forecast(pipeline: OpenPipeline, issue_time: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.forecast import forecast
    from flows.stages.unusable_history import publish_despite_damage

    within = options.pop("within", None)
    stale_reason = options.pop("stale_reason", None)
    end = math.inf if within is None else time.monotonic() + within
    # Without a limit of its own, as in the flow `forecast`, the deadline of the pipeline holds.
    deadline = Deadline(pipeline.settings.forecast.deadline)

    def has_time() -> bool:
        return time.monotonic() < end and (within is not None or deadline.has_forecast_time())

    def publish(store: Store, reason: str | None) -> Mapping[str, Any]:
        return forecast(
            pipeline.settings,
            store,
            issue_time,
            stale_reason=reason,
            has_time=has_time,
            progress=_report_progress,
            now=clock.now(),
            **options,
        )

    return publish_despite_damage(pipeline.settings, pipeline.store, publish, stale_reason)


def _plan(pipeline: OpenPipeline, issue_time: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.distributed import plan
    from flows.stages.unusable_history import publish_despite_damage

    stale_reason = options.pop("stale_reason", None)
    options.pop("within", None)  # the shards have a limit of their own

    def make_plan(store: Store, reason: str | None) -> Mapping[str, Any]:
        return plan(pipeline.settings, store, issue_time, clock.now(), stale_reason=reason, **options)

    # Damaged parts are set aside before the shards are given out, so that all workers read the same history.
    return publish_despite_damage(pipeline.settings, pipeline.store, make_plan, stale_reason)


def _assemble(pipeline: OpenPipeline, issue_time: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.distributed import assemble
    from flows.stages.unusable_history import publish_despite_damage

    # The keys of a JSON object are texts.
    failures = {int(shard): reason for shard, reason in options["failures"].items()}
    return publish_despite_damage(
        pipeline.settings,
        pipeline.store,
        lambda store, _: assemble(pipeline.settings, store, options["run"], failures, clock.now()),
    )


def _score(pipeline: OpenPipeline, now: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.score import score

    return score(pipeline.settings, pipeline.store, now, progress=_report_progress)


def _report(pipeline: OpenPipeline, now: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.report import report

    return report(pipeline.settings, pipeline.store, now)


def _backfill(pipeline: OpenPipeline, now: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.backfill import backfill

    start, end = clock.parse_days(options["start"], options["end"])
    return backfill(pipeline.settings, pipeline.store, start, end, now, _report_progress)


STAGES: dict[str, Stage] = {
    "ingest": _ingest,
    "decide": _decide,
    "train": _train,
    "forecast": _forecast,
    "plan": _plan,
    "assemble": _assemble,
    "score": _score,
    "report": _report,
    "backfill": _backfill,
}


def report_to(progress: Progress) -> None:
    """Have the stages of this process report their progress to a callback."""
    global _progress
    _progress = progress


def _report_progress(activity: str, share: float) -> None:
    _progress(activity, share)
