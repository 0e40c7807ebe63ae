"""Forecast stage: publish one forecast file from the champion and the history as of an issue time.

It imports no torch, no onnx and no Prefect.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from flows.settings.pipeline import Pipeline
from flows.stages.assemble import publish_shards
from flows.stages.fallback import FallbackOrder, no_deadline
from flows.stages.loaded_models import ModelChain, load_models
from flows.stages.panels import known_series
from flows.stages.progress import Progress, no_progress
from flows.stages.shard import ShardResult, forecast_shard, shard_slices
from storage.schemas import DataError
from storage.schemas.records import ForecastReport
from storage.store import Store

logger = logging.getLogger(__name__)


def forecast(
    settings: Pipeline,
    store: Store,
    issue_time: datetime,
    needs_champion: bool = False,
    stale_reason: str | None = None,
    no_model_reason: str | None = None,
    failed_feeds: Mapping[str, str] | None = None,
    has_time: Callable[[], bool] = no_deadline,
    progress: Progress = no_progress,
    now: datetime | None = None,
) -> ForecastReport:
    """Publish the forecast of `issue_time` from the data known then, one shard after the other.

    Args:
        settings: Settings of the pipeline.
        store: Store with history and models.
        issue_time: Issue time of the forecast.
        needs_champion: Whether to fail if no model can be loaded. If False, `forecast.on_failure` decides.
        stale_reason: Why even the champion's rows are stale, such as a failed training.
        no_model_reason: Why no model may be used. Every row then comes from the baseline.
        failed_feeds: Error by feed of which the last ingest failed. Series that lack its due values are stale.
        has_time: Function that returns False once the remaining rows must come from the baseline.
        progress: Callback for the progress.
        now: Present instant. A forecast of the far future is not copied to `latest/`.

    Raises:
        DataError: No target value is known at the issue time, or no model can be loaded and one is needed.
    """
    progress("forecast", 0.0)
    series, order = prepare_forecast(settings, store, issue_time, needs_champion, no_model_reason)
    order = replace(order, stale_reason=stale_reason, has_time=has_time, failed_feeds=failed_feeds or {})
    shards = shard_slices(settings, len(series))

    def results() -> Iterator[ShardResult]:
        for done, shard in enumerate(shards, start=1):
            yield forecast_shard(settings, store, issue_time, series[shard], order)
            progress("forecast", 0.1 + 0.8 * done / len(shards))

    published = publish_shards(settings, store, issue_time, results(), has_time, now, order.steps)
    progress("forecast", 1.0)
    if published["ended"]:
        logger.info("%d series have ended and are not forecast.", len(published["ended"]))
    return published


def prepare_forecast(
    settings: Pipeline,
    store: Store,
    issue_time: datetime,
    needs_champion: bool = False,
    no_model_reason: str | None = None,
) -> tuple[tuple[str, ...], FallbackOrder]:
    """Return the series to forecast, sorted, and the models to try. Arguments and errors are those of `forecast`."""
    series = known_series(settings, store, issue_time)
    if not series:
        raise DataError(
            f"pipeline {settings.name!r}: no target value was known at {settings.local_text(issue_time)}; "
            "run `gatecast ingest` or choose a later issue time"
        )
    if no_model_reason:
        return series, FallbackOrder(ModelChain(settings, store, []), no_model_reason)
    models, no_model_reason = load_models(settings, store, issue_time)
    if no_model_reason and needs_champion:
        raise DataError(f"pipeline {settings.name!r}: {no_model_reason}; run `gatecast train`")
    return series, FallbackOrder(models, no_model_reason)
