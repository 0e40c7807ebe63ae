"""The backtest flow: the nights of the past, through the stages of a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.runtime import flow_run

from flows import clock, logs
from flows.nightly import TASK
from flows.parameters import Day, OutputFolder, PipelineFile, RetrainInterval
from flows.settings import file as pipeline_file
from flows.settings import types as setting_types
from flows.stages.backtest import Plan
from flows.stages.backtest import backtest as backtest_stage
from storage.schemas.records import BacktestReport
from storage.store import open_store


@task(name="backtest", **TASK)
def backtest_task(pipeline_path: str, plan: dict[str, Any], output: str | None) -> BacktestReport:
    """All nights."""
    settings = pipeline_file.read(pipeline_path)
    every = plan["retrain_every"]
    asked = Plan(
        clock.parse_day(plan["start"]), clock.parse_day(plan["end"]),
        None if every is None else setting_types.parse_duration(every), plan["promotion"],
    )  # fmt: skip
    place = None if output is None else Path(output)
    return backtest_stage(settings, open_store(settings.pipeline.store), asked, place, clock.now())


@flow(name="backtest", persist_result=False)
def backtest(
    pipeline: PipelineFile,
    start: Day,
    end: Day,
    retrain_every: RetrainInterval | None = None,
    output: OutputFolder | None = None,
    promotion: bool = True,
) -> BacktestReport:
    """Replay the nights from the local day `start` to `end` (ISO 8601), both included; returns the summary."""
    logs.bind(run=flow_run.id, pipeline=pipeline_file.read(pipeline).name, issue_time=None)
    plan = {"start": start, "end": end, "retrain_every": retrain_every, "promotion": promotion}
    return backtest_task(pipeline, plan, output)
