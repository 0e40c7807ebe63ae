"""The forecast in steps that may run on different machines: orders, a part for each shard, the whole.

The same shards as of `forecast`, and the same bytes. Between the steps everything is in the store.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flows.settings.pipeline import Pipeline
from flows.stages.assemble import publish_shards
from flows.stages.fallback import ModelChain
from flows.stages.forecast import no_deadline, prepare_forecast
from flows.stages.shard import ShardResult, forecast_shard, shard_slices
from storage import staging
from storage.schemas import DataError
from storage.store import Store

logger = logging.getLogger(__name__)

_MADE, _STAND_IN = "part", "baseline"


def plan(
    settings: Pipeline,
    store: Store,
    issue_time: datetime,
    now: datetime,
    needs_champion: bool = True,
    stale_reason: str | None = None,
    no_model_reason: str | None = None,
) -> dict[str, Any]:
    """Give every shard its order. Arguments and errors as of `forecast.forecast`.

    What is decided here holds for all shards, whatever becomes of the champion or of the known series meanwhile.

    Returns:
        run: the name of this try; shards, series: how many.
    """
    series, models, why_none = prepare_forecast(settings, store, issue_time, needs_champion, no_model_reason)
    order = {
        "issue_time": issue_time.isoformat(),
        "versions": models.versions,
        "why_none": why_none,
        "stale": stale_reason,
        "settings": settings_fingerprint(settings),
    }
    shards = [series[shard] for shard in shard_slices(settings, len(series))]
    run = staging.start_run(store, settings.name, issue_time, now, shards, order)
    return {"run": run.name, "shards": len(shards), "series": len(series)}


def run_shard(settings: Pipeline, store: Store, run: str, shard: int) -> dict[str, Any]:
    """Forecast one shard and stage its part: once or several times, at one place or several, it is the same part.

    Returns:
        shard, series: which, and how many.

    Raises:
        DataError: the run is over, this machine reads another pipeline file than the one that planned, or can load none
            of its models.
    """
    at = staging.ShardedRun(store, settings.name, run)
    series, order = at.read_assignment(shard)
    if order["settings"] != settings_fingerprint(settings):
        raise DataError(
            f"pipeline {settings.name!r}: this worker has other settings than the night that it works for; give "
            "every worker the same pipeline file and the same GATECAST_ variables"
        )
    # One thread: a worker takes as many shards as it has threads.
    models = ModelChain(settings, store, order["versions"], threads=1)
    if order["versions"] and not any(True for _ in models):
        # They could be when the order was given: another worker may still be able to.
        raise DataError(f"pipeline {settings.name!r}: {models.fault}")
    issue_time = datetime.fromisoformat(order["issue_time"])
    made = forecast_shard(settings, store, issue_time, series, models, order["why_none"], order["stale"], no_deadline)
    at.write(shard, _MADE, made.series, made.numbers, made.tried)
    return {"shard": shard, "series": len(series)}


def assemble(settings: Pipeline, store: Store, run: str, failures: Mapping[int, str]) -> dict[str, Any]:
    """Publish the parts of a run as one file, and remove what was staged.

    A shard whose part is not there comes from the baseline, here and now.

    Args:
        failures: why, by shard.

    Returns:
        What `forecast.forecast` returns, and `stood_in`: how many shards the baseline stands in for.
    """
    at = staging.ShardedRun(store, settings.name, run)
    # Settled once: a part that comes late must not be half of it.
    made = [_MADE if at.has(shard, _MADE) else _STAND_IN for shard in range(at.shards)]
    for shard, what in enumerate(made):
        if what == _STAND_IN:
            reason = failures.get(shard, "its shard gave no forecast")
            logger.warning("shard %d of %d comes from the baseline: %s", shard + 1, at.shards, reason)
            series, order = at.read_assignment(shard)
            issue = datetime.fromisoformat(order["issue_time"])
            part = forecast_shard(settings, store, issue, series, (), reason, None, no_deadline)
            at.write(shard, what, part.series, part.numbers, part.tried)
    _, order = at.read_assignment(0)
    parts = (ShardResult(*at.read_result(shard, what)) for shard, what in enumerate(made))
    report = publish_shards(settings, store, datetime.fromisoformat(order["issue_time"]), parts)
    at.remove()
    return report | {"stood_in": made.count(_STAND_IN)}


def settings_fingerprint(settings: Pipeline) -> str:
    """Hash of the settings, but of where the feeds are: a forecast does not read them."""
    said = settings.model_dump_json(exclude={"feed": {"__all__": {"uri", "query"}}, "scale": True})
    return hashlib.sha256(said.encode()).hexdigest()
