"""Prefect tasks of the flows, one per stage. A task takes paths and returns a small record.

Prefect neither caches nor keeps their results, because the store has all that a run leaves.
"""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows import clock
from flows.settings import file as pipeline_file
from flows.settings import types as setting_types
from flows.stage_process import runner
from storage.schemas.records import (
    BackfillReport,
    BacktestReport,
    DistributedReport,
    ForecastReport,
    IngestReport,
    Manifest,
    PageReport,
    PlanReport,
    ScoreReport,
    ShardReport,
)

_SHARD_RETRIES = 2


@task(name="ingest", cache_policy=NO_CACHE, persist_result=False)
def ingest_task(pipeline_path: str, as_of: str, limit: float | None = None) -> IngestReport:
    """Write the feeds to the history. With a limit in seconds, a feed that responds too late is left out."""
    report: IngestReport = runner.run_stage("ingest", pipeline_path, as_of, limit)
    return report


def decide(pipeline_path: str, issue_time: str, limit: float, alert_reason: str | None) -> str | None:
    """Return why a model must be trained, None if none must. It takes a second, so that it is no task."""
    decision = runner.run_stage("decide", pipeline_path, issue_time, limit, alert_reason=alert_reason)
    reason: str | None = decision["reason"]
    return reason


@task(name="train", cache_policy=NO_CACHE, persist_result=False)
def train_task(pipeline_path: str, as_of: str, limit: float | None = None) -> Manifest:
    """Train a challenger, and promote it or not."""
    manifest: Manifest = runner.run_stage("train", pipeline_path, as_of, limit)
    return manifest


@task(name="forecast", cache_policy=NO_CACHE, persist_result=False)
def forecast_task(
    pipeline_path: str,
    issue_time: str,
    limit: float | None = None,
    needs_champion: bool = False,
    stale_reason: str | None = None,
    no_model_reason: str | None = None,
    failed_feeds: dict[str, str] | None = None,
) -> ForecastReport:
    """Publish the forecast file. `flows.stages.forecast.forecast` explains the options."""
    report: ForecastReport = runner.run_stage(
        "forecast",
        pipeline_path,
        issue_time,
        limit,
        needs_champion=needs_champion,
        stale_reason=stale_reason,
        no_model_reason=no_model_reason,
        failed_feeds=failed_feeds,
    )
    return report


@task(name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_task(
    pipeline_path: str,
    issue_time: str,
    limit: float | None,
    needs_champion: bool,
    stale_reason: str | None,
    no_model_reason: str | None,
    failed_feeds: dict[str, str] | None = None,
) -> PlanReport:
    """Stage the assignment of every shard of a distributed forecast."""
    report: PlanReport = runner.run_stage(
        "plan",
        pipeline_path,
        issue_time,
        limit,
        needs_champion=needs_champion,
        stale_reason=stale_reason,
        no_model_reason=no_model_reason,
        failed_feeds=failed_feeds,
    )
    return report


@task(
    name="shard", task_run_name="shard {shard}", cache_policy=NO_CACHE, persist_result=False,
    retries=_SHARD_RETRIES, retry_delay_seconds=1,
)  # fmt: skip
def shard_task(pipeline_path: str, run: str, shard: int) -> ShardReport:
    """Forecast one shard of a distributed forecast, on any worker."""
    # Only a worker needs the libraries of the stage.
    from flows.stages.distributed import run_shard

    settings, store = pipeline_file.open_pipeline(pipeline_path)
    return run_shard(settings, store, run, shard)


@task(name="assemble", cache_policy=NO_CACHE, persist_result=False)
def assemble_task(
    pipeline_path: str, issue_time: str, limit: float | None, run: str, failures: dict[str, str]
) -> DistributedReport:
    """Publish the results of all shards as one forecast file."""
    report: DistributedReport = runner.run_stage(
        "assemble", pipeline_path, issue_time, limit, run=run, failures=failures
    )
    return report


@task(name="score", cache_policy=NO_CACHE, persist_result=False)
def score_task(pipeline_path: str, now: str, limit: float) -> ScoreReport:
    """Score the forecasts whose actuals are known now."""
    report: ScoreReport = runner.run_stage("score", pipeline_path, now, limit)
    return report


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def report_task(pipeline_path: str, now: str, limit: float) -> PageReport:
    """Write the report page."""
    report: PageReport = runner.run_stage("report", pipeline_path, now, limit)
    return report


@task(name="backfill", cache_policy=NO_CACHE, persist_result=False)
def backfill_task(pipeline_path: str, start: str, end: str) -> BackfillReport:
    """Publish the forecasts missing between two local days."""
    report: BackfillReport = runner.run_stage(
        "backfill", pipeline_path, clock.now().isoformat(), None, start=start, end=end
    )
    return report


@task(name="backtest", cache_policy=NO_CACHE, persist_result=False)
def backtest_task(
    pipeline_path: str, start: str, end: str, retrain_every: str | None, promotion: bool, output: str | None
) -> BacktestReport:
    """Replay the issue times between two local days."""
    from flows.stages.backtest import Plan, backtest

    settings, store = pipeline_file.open_pipeline(pipeline_path)
    every = None if retrain_every is None else setting_types.parse_duration(retrain_every)
    plan = Plan(*clock.parse_days(start, end), every, promotion)
    return backtest(settings, store, plan, None if output is None else Path(output), clock.now())
