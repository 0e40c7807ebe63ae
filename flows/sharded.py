"""The forecast on a Dask cluster: one task a shard, over Prefect's Dask task runner.

A task is given paths and gives a small dictionary; what it makes is staged in the store. A worker that is lost costs
time: Dask gives its shards to another. What has not come by the deadline, or failed every time, is the baseline's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from flows.deadline import response_limit
from flows.stage_process import runner
from storage.schemas import DataError
from storage.schemas.records import ShardReport

logger = logging.getLogger(__name__)

LOCAL, HERE = "local", "dask"  # of `[scale] engine`: no cluster; a cluster on this machine; else the address of one
_TRIES_MORE = 2
_CONNECTING = 30  # seconds


def forecast_flow(engine: str) -> Callable[..., Any] | None:
    """The flow that forecasts on `engine`; None for the local one, which needs none.

    Raises:
        DataError: the extra is not installed.
    """
    if engine == LOCAL:
        return None
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        raise DataError(
            f'[scale] engine = "{engine}" needs Dask ({error}); pip install "gatecast[dask]", or set engine = "local"'
        ) from None
    # On this machine a worker a core, each a process: what a decoder does in one does not stop the others.
    here = {"cluster_kwargs": {"threads_per_worker": 1, "dashboard_address": None}}
    cluster: Any = here if engine == HERE else {"address": engine}
    runner: Any = DaskTaskRunner(**cluster, client_kwargs={"timeout": _CONNECTING})
    return forecast_shards.with_options(task_runner=runner)


@task(name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_task(pipeline_path: str, issue_time: str, limit: float | None, options: dict[str, Any]) -> dict[str, Any]:
    """An order for every shard."""
    return runner.run_stage("plan", pipeline_path, issue_time, limit, **options)


@task(
    name="shard", task_run_name="shard {shard}", cache_policy=NO_CACHE, persist_result=False,
    retries=_TRIES_MORE, retry_delay_seconds=1,
)  # fmt: skip
def shard_task(pipeline_path: str, run: str, shard: int) -> ShardReport:
    """The part of one shard, on whichever worker."""
    from flows.settings import file as pipeline_file
    from flows.stages.distributed import run_shard
    from storage.store import open_store

    settings = pipeline_file.read(pipeline_path)
    return run_shard(settings, open_store(settings.pipeline.store), run, shard)


@task(name="assemble", cache_policy=NO_CACHE, persist_result=False)
def assemble_task(
    pipeline_path: str, issue_time: str, limit: float | None, run: str, failures: dict[str, str]
) -> dict[str, Any]:
    """The forecast file."""
    return runner.run_stage("assemble", pipeline_path, issue_time, limit, run=run, failures=failures)


@flow(name="forecast-shards", persist_result=False)
def forecast_shards(
    pipeline_path: str,
    issue_time: str,
    limit: float | None = None,
    needs_champion: bool = True,
    stale_reason: str | None = None,
    no_model_reason: str | None = None,
) -> dict[str, Any]:
    """The forecast file of `issue_time`, made shard by shard on the cluster of the task runner.

    Args:
        limit: seconds after which it must be there.
        needs_champion, stale_reason, no_model_reason: see `flows.stages.forecast.forecast`.
    """
    begun = time.monotonic()

    def left(of: float | None) -> float | None:
        return None if of is None else of - (time.monotonic() - begun)

    options = {"needs_champion": needs_champion, "stale_reason": stale_reason, "no_model_reason": no_model_reason}
    planned = plan_task(pipeline_path, issue_time, limit, options)
    run, shards = planned["run"], range(planned["shards"])
    futures = {shard: shard_task.submit(pipeline_path, run, shard) for shard in shards}
    answers = None if limit is None else response_limit(limit)
    failures = {}
    for shard, future in futures.items():
        failed = _failure(future, left(answers))
        if failed:
            failures[str(shard)] = failed
            logger.warning("shard %d of %d: %s", shard + 1, len(shards), failed)
    return assemble_task(pipeline_path, issue_time, left(limit), run, failures)


def _failure(future: PrefectFuture[Any], left: float | None) -> str | None:
    """Why a shard gave nothing within the seconds `left`, None if it did."""
    future.wait(None if left is None else max(left, 0.0))
    running: Any = future.wrapped_future  # type: ignore[attr-defined]
    if not running.done():
        running.cancel()
        return "the deadline came before its shard was forecast"
    if running.status != "finished":
        # Not the shard's own error, but Dask's: it gives up on what has cost too many workers.
        return f"its shard failed: {running.exception()}"
    state = running.result()
    return None if state.is_completed() else f"its shard failed: {state.result(raise_on_failure=False)}"
