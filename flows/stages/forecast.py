"""Forecast: champion + history as of T -> one forecast file. No torch, no onnx, no Prefect."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from flows.settings.pipeline import Pipeline
from flows.stages.assemble import publish_shards
from flows.stages.fallback import ModelChain, load_models
from flows.stages.panels import known_series
from flows.stages.progress import Progress, no_progress
from flows.stages.shard import ShardResult, forecast_shard, shard_slices
from storage.schemas import DataError
from storage.store import Store

logger = logging.getLogger(__name__)


def no_deadline() -> bool:
    """There is time: no deadline."""
    return True


def forecast(
    settings: Pipeline,
    store: Store,
    issue_time: datetime,
    needs_champion: bool = True,
    stale_reason: str | None = None,
    no_model_reason: str | None = None,
    has_time: Callable[[], bool] = no_deadline,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Publish the forecast of `issue_time` from what was known then, one shard after the other.

    Args:
        needs_champion: refuse to publish without one; else every row comes from the baseline.
        stale_reason: why even the champion's rows are stale: what it or its input should have been renewed by failed.
        no_model_reason: why no model is to be asked, so that every row comes from the baseline.
        has_time: asked on the way; once it is False, the rows still missing come from the baseline.

    Returns:
        path, issue_time, series, rows, rows by status, reasons (of rows that are not `model`), model_version, and the
        series that have ended (`forecast.ended_after`) and are not forecast any more.

    Raises:
        DataError: there is no target value to forecast from, or no champion although one is needed.
    """
    progress("forecast", 0.0)
    series, models, why_none = prepare_forecast(settings, store, issue_time, needs_champion, no_model_reason)
    shards = shard_slices(settings, len(series))

    def parts() -> Iterator[ShardResult]:
        for done, shard in enumerate(shards):
            yield forecast_shard(settings, store, issue_time, series[shard], models, why_none, stale_reason, has_time)
            progress("forecast", 0.1 + 0.8 * (done + 1) / len(shards))

    published = publish_shards(settings, store, issue_time, parts())
    progress("forecast", 1.0)
    if published["ended"]:
        logger.info("%d series have ended and are not forecast", len(published["ended"]))
    return published


def prepare_forecast(
    settings: Pipeline, store: Store, issue_time: datetime, needs_champion: bool, no_model_reason: str | None
) -> tuple[tuple[str, ...], ModelChain, str | None]:
    """The series to forecast, sorted, and the models that can, or why there are none. Arguments as of `forecast`."""
    series = known_series(settings, store, issue_time)
    if not series:
        raise DataError(
            f"pipeline {settings.name!r}: no target value was known at {issue_time.isoformat()}; "
            "run `gatecast ingest` or choose a later issue time"
        )
    if no_model_reason:
        return series, ModelChain(settings, store, []), no_model_reason
    models, why_none = load_models(settings, store, issue_time)
    if why_none and needs_champion:
        raise DataError(f"pipeline {settings.name!r}: {why_none}; run `gatecast train`")
    return series, models, why_none
