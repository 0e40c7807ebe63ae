"""The distributed forecast: one task per shard, on a Dask cluster, through Prefect's Dask task runner.

A shard stages its result in the store. If a worker is lost, Dask gives its shards to another one. A shard
that has no result when the forecast is assembled comes from the baseline.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture

from flows import tasks
from flows.deadline import response_limit
from storage.schemas import DataError
from storage.schemas.records import DistributedReport

logger = logging.getLogger(__name__)

_LOCAL, _LOCAL_CLUSTER = "local", "dask"  # values of `[scale] engine`; any other is the address of a scheduler
_CONNECT_TIMEOUT = 30  # seconds


def forecast_runner(engine: str) -> Callable[..., Any]:
    """Return the task or flow that publishes a forecast on an engine.

    Raises:
        DataError: If the engine needs Dask and it is not installed.
    """
    if engine == _LOCAL:
        return tasks.forecast_task
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise DataError(
            f'[scale] engine = "{engine}" needs Dask ({error}). Run pip install "gatecast[dask]", or set '
            'engine = "local".'
        ) from None
    # One process per core, because a decoder that holds the interpreter lock would block the other threads.
    local_cluster = {"cluster_kwargs": {"threads_per_worker": 1, "dashboard_address": None}}
    cluster: Any = local_cluster if engine == _LOCAL_CLUSTER else {"address": engine}
    runner: Any = DaskTaskRunner(**cluster, client_kwargs={"timeout": _CONNECT_TIMEOUT})
    return forecast_shards.with_options(task_runner=runner)


@flow(name="forecast-shards", persist_result=False)
def forecast_shards(
    pipeline_path: str,
    issue_time: str,
    limit: float | None = None,
    needs_champion: bool = False,
    stale_reason: str | None = None,
    no_model_reason: str | None = None,
    failed_feeds: dict[str, str] | None = None,
) -> DistributedReport:
    """Publish the forecast of `issue_time`, shard by shard on the cluster of the task runner.

    Args:
        pipeline_path: Path of the pipeline file, on every machine of the cluster.
        issue_time: ISO 8601 with an offset.
        limit: Seconds until the forecast must be published.
        needs_champion: Whether to fail if no model can be loaded. If False, `forecast.on_failure` decides.
        stale_reason: Why even the champion's rows are stale, such as a failed training.
        no_model_reason: Why no model may be used. Every row then comes from the baseline.
        failed_feeds: Error by feed of which the last ingest failed. Series that lack its due values are stale.
    """
    started = time.monotonic()

    def remaining(seconds: float | None) -> float | None:
        return None if seconds is None else seconds - (time.monotonic() - started)

    plan = tasks.plan_task(
        pipeline_path, issue_time, limit, needs_champion, stale_reason, no_model_reason, failed_feeds
    )
    run, count = plan["run"], plan["shards"]
    futures = [tasks.shard_task.submit(pipeline_path, run, shard) for shard in range(count)]
    # The rest of the time is for the baseline's forecast of missing shards, and for writing the file.
    shard_limit = None if limit is None else response_limit(limit)
    failures = {}
    for shard, future in enumerate(futures):
        failure = _shard_failure(future, shard_limit, remaining(shard_limit))
        if failure:
            failures[str(shard)] = failure
            logger.warning("Shard %d of %d has no result yet: %s.", shard + 1, count, failure)
    return tasks.assemble_task(pipeline_path, issue_time, remaining(limit), run, failures)


def _shard_failure(future: PrefectFuture[Any], limit: float | None, remaining: float | None) -> str | None:
    """Return why a shard has no result after the remaining seconds of its time limit, or None if it has one."""
    future.wait(None if remaining is None else max(remaining, 0.0))
    dask_future: Any = future.wrapped_future  # type: ignore[attr-defined]
    if not dask_future.done():
        dask_future.cancel()
        return f"its shard gave no result within {limit:.0f} s; raise [scale] shards or forecast.deadline"
    if dask_future.status != "finished":
        # This is Dask's error: it does not retry a task whose workers died several times.
        return f"its shard failed: {dask_future.exception()}"
    state = dask_future.result()
    return None if state.is_completed() else f"its shard failed: {state.result(raise_on_failure=False)}"
