"""The backtest flow: a replay of past issue times through the stages of a nightly run."""

from __future__ import annotations

from prefect import flow
from prefect.runtime import flow_run

from flows import logs, run_names
from flows.parameters import Day, OutputFolder, PipelineFile, RetrainInterval
from flows.settings import file as pipeline_file
from flows.tasks import backtest_task
from storage.schemas.records import BacktestReport


@flow(name="backtest", flow_run_name=run_names.name_by_days, persist_result=False)
def backtest(
    pipeline: PipelineFile,
    start: Day,
    end: Day,
    retrain_every: RetrainInterval | None = None,
    output: OutputFolder | None = None,
    promotion: bool = True,
) -> BacktestReport:
    """Replay the issue times from the local day `start` to `end` (ISO 8601), both included, and return the summary."""
    logs.bind(run=flow_run.id, pipeline=pipeline_file.read(pipeline).name, issue_time=None)
    return backtest_task(pipeline, start, end, retrain_every, promotion, output)
