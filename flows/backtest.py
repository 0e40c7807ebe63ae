"""The backtest flow: the nights of the past, through the stages of a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, task

from flows import clock, pipeline_file, setting_types
from flows.nightly import TASK
from flows.stages.backtest import Plan
from flows.stages.backtest import backtest as backtest_stage
from storage.store import open_store


@task(name="backtest", **TASK)
def backtest_task(pipeline_path: str, plan: dict[str, Any], output: str | None) -> dict[str, Any]:
    """All nights."""
    settings = pipeline_file.read(pipeline_path)
    every = plan["retrain_every"]
    asked = Plan(
        clock.parse_day(plan["start"]), clock.parse_day(plan["end"]),
        None if every is None else setting_types.duration(every), plan["promotion"],
    )  # fmt: skip
    place = None if output is None else Path(output)
    return backtest_stage(settings, open_store(settings.pipeline.store), asked, place, clock.now())


@flow(name="backtest", persist_result=False)
def backtest(
    pipeline: str,
    start: str,
    end: str,
    retrain_every: str | None = None,
    output: str | None = None,
    promotion: bool = True,
) -> dict[str, Any]:
    """Replay the nights from the local day `start` to `end` (ISO 8601), both included; returns the summary."""
    plan = {"start": start, "end": end, "retrain_every": retrain_every, "promotion": promotion}
    return backtest_task(pipeline, plan, output)
