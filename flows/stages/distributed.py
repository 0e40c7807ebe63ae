"""Distributed forecast: a plan, one result for each shard, and the assembly, on different machines.

The shards and the bytes of the file are those of `flows.stages.forecast`. Between the steps everything is in the store.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial

from flows.settings.pipeline import Pipeline
from flows.stages.advisory_steps import AdvisorySteps
from flows.stages.assemble import publish_shards
from flows.stages.fallback import FallbackOrder
from flows.stages.forecast import prepare_forecast
from flows.stages.loaded_models import ModelChain
from flows.stages.shard import ShardResult, forecast_shard, shard_slices
from storage import staging
from storage.schemas import DataError, Missing
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import DistributedReport, PlanReport, ShardPlan, ShardReport
from storage.store import Store

logger = logging.getLogger(__name__)

_FORECAST = "part"  # name of a shard's result


def plan(
    settings: Pipeline,
    store: Store,
    issue_time: datetime,
    now: datetime,
    needs_champion: bool = False,
    stale_reason: str | None = None,
    no_model_reason: str | None = None,
    failed_feeds: Mapping[str, str] | None = None,
) -> PlanReport:
    """Stage the assignment of every shard. Arguments and errors are those of `flows.stages.forecast.forecast`.

    The plan fixes series, models and reasons for all shards, even if the champion or the history changes meanwhile.
    """
    series, order = prepare_forecast(settings, store, issue_time, needs_champion, no_model_reason)
    shard_plan: ShardPlan = {
        "issue_time": issue_time.isoformat(),
        "versions": order.models.versions,
        "no_model_reason": order.no_model_reason,
        "stale_reason": stale_reason,
        "failed_feeds": dict(failed_feeds or {}),
        "settings": settings_fingerprint(settings),
    }
    shards = [series[shard] for shard in shard_slices(settings, len(series))]
    run = staging.start_run(store, settings.name, issue_time, now, shards, shard_plan)
    return {"run": run.name, "shards": len(shards), "series": len(series)}


def run_shard(settings: Pipeline, store: Store, run: str, shard: int) -> ShardReport:
    """Forecast one shard and stage its result. A repetition, also on another machine, stages the same result.

    Raises:
        DataError: The run is over, this machine has other settings than the plan, or it can load none of the models.
    """
    staged = staging.ShardedRun(store, settings.name, run)
    series, shard_plan = staged.read_assignment(shard)
    if shard_plan["settings"] != settings_fingerprint(settings):
        raise DataError(
            f"pipeline {settings.name!r}: this worker has other settings than the run {run}; give every worker the "
            "same pipeline file and the same GATECAST_ variables"
        )
    # A worker runs as many shards at once as it has threads, so each model gets one.
    models = ModelChain(settings, store, shard_plan["versions"], threads=1)
    if shard_plan["versions"] and models.first is None:
        # The models could be loaded when the shard was planned, so another worker may still be able to.
        raise DataError(f"pipeline {settings.name!r}: {models.error}")
    issue_time = datetime.fromisoformat(shard_plan["issue_time"])
    order = FallbackOrder(
        models, shard_plan["no_model_reason"], shard_plan["stale_reason"], failed_feeds=shard_plan["failed_feeds"]
    )
    result = forecast_shard(settings, store, issue_time, series, order)
    staged.write(shard, _FORECAST, result.series, result.values, result.model)
    return {"shard": shard, "series": len(series)}


def assemble(
    settings: Pipeline, store: Store, run: str, failures: Mapping[int, str], now: datetime | None = None
) -> DistributedReport:
    """Publish the results of a run as one file, and remove the staged files.

    A shard without a result is forecast by the baseline here.

    Args:
        settings: Settings of the pipeline.
        store: Store with history and staged results.
        run: Name of the run.
        failures: Reason by shard for shards that failed.
        now: Present instant. A forecast of the far future is not copied to `latest/`.
    """
    staged, steps = staging.ShardedRun(store, settings.name, run), AdvisorySteps()
    _, shard_plan = staged.read_assignment(0)
    issue_time = datetime.fromisoformat(shard_plan["issue_time"])
    substituted = []

    def results() -> Iterator[ShardResult]:
        for shard in range(staged.shards):
            staged_result = attempt(partial(staged.read_result, shard, _FORECAST))
            if not isinstance(staged_result, Failed):
                yield ShardResult(*staged_result)
                continue
            is_missing = isinstance(staged_result.error, Missing)
            reason = failures.get(shard, "its shard gave no forecast" if is_missing else staged_result.text)
            logger.warning("Shard %d of %d comes from the baseline: %s.", shard + 1, staged.shards, reason)
            substituted.append(shard)
            series, _ = staged.read_assignment(shard)
            order = FallbackOrder(ModelChain(settings, store, []), reason, steps=steps)
            yield forecast_shard(settings, store, issue_time, series, order)

    report = publish_shards(settings, store, issue_time, results(), now=now, steps=steps)
    steps.run("staging", staged.remove, None)
    return {**report, "failures": dict(steps.failures), "stood_in": len(substituted)}


def settings_fingerprint(settings: Pipeline) -> str:
    """Return the hash of the settings without the addresses of the feeds, which a forecast does not read."""
    text = settings.model_dump_json(exclude={"feed": {"__all__": {"uri", "query"}}, "scale": True})
    return hashlib.sha256(text.encode()).hexdigest()
