"""Stages that can run in a process of their own."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

logger = logging.getLogger("flows.stage_process")


def _ingest(pipeline: str, at: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows import clock
    from flows.stages.ingest import ingest

    settings, store = _open(pipeline)
    return ingest(settings, store, at, clock.now(), _log, within=options["within"])


def _train(pipeline: str, at: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows import clock
    from flows.stages.train import train

    settings, store = _open(pipeline)
    return train(settings, store, at, clock.now(), _log)


def _forecast(pipeline: str, at: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.forecast import forecast

    settings, store = _open(pipeline)
    within = options.pop("within")
    end = math.inf if within is None else time.monotonic() + within

    stale = options.pop("stale_reason", None)

    def attempt(damage: str | None) -> Mapping[str, Any]:
        why = "; ".join(filter(None, (stale, damage))) or None
        return forecast(settings, store, at, stale_reason=why, has_time=lambda: time.monotonic() < end, **options)

    return _without_damage(settings, store, attempt)


def _plan(pipeline: str, at: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows import clock
    from flows.stages.distributed import plan

    settings, store = _open(pipeline)
    return plan(settings, store, at, clock.now(), **options)


def _assemble(pipeline: str, at: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.distributed import assemble

    settings, store = _open(pipeline)
    # JSON knows no numbers as keys.
    failures = {int(shard): reason for shard, reason in options["failures"].items()}
    return _without_damage(settings, store, lambda _: assemble(settings, store, options["run"], failures))


def _without_damage(settings, store, attempt: Callable[[str | None], Mapping[str, Any]]) -> Mapping[str, Any]:
    """The night must have a forecast: where the history is damaged, of what can be read, and told what is damaged."""
    from storage import history

    try:
        return attempt(None)
    except history.DamagedHistory as error:
        for feed in settings.feed:
            history.set_aside(store, settings.name, feed.name)
        return attempt(str(error))


def _score(pipeline: str, at: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.score import score

    settings, store = _open(pipeline)
    return score(settings, store, at, progress=_log)


def _report(pipeline: str, at: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows.stages.report import report

    settings, store = _open(pipeline)
    return report(settings, store, at)


def _backfill(pipeline: str, at: datetime, options: dict[str, Any]) -> Mapping[str, Any]:
    from flows import clock
    from flows.stages.backfill import backfill

    settings, store = _open(pipeline)
    start, end = (clock.parse_day(options[name]) for name in ("start", "end"))
    return backfill(settings, store, start, end, at, _log)


#: What can be run apart.
STAGES: dict[str, Callable[[str, datetime, dict[str, Any]], Mapping[str, Any]]] = {
    "ingest": _ingest,
    "train": _train,
    "forecast": _forecast,
    "plan": _plan,
    "assemble": _assemble,
    "score": _score,
    "report": _report,
    "backfill": _backfill,
}


def _open(path: str):  # -> tuple[Pipeline, Store]
    from flows.settings import file as pipeline_file
    from storage.store import open_store

    settings = pipeline_file.read(path)
    return settings, open_store(settings.pipeline.store)


def _log(what: str, done: float) -> None:
    logger.info("%s: %.0f%%", what, 100 * done)
