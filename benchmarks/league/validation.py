"""Scores of the network before the league's test periods: `python -m benchmarks.league.validation TASK ...`.

Shows what a change of the network gives without looking at a test period. Four fits are spread over the year (for a
market: the 500 business days) before it. Each is made by the public command `backtest` and used for 42 issue times.
Settings are changed by environment variables (`GATECAST_...`).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.league import forecasts, runs
from benchmarks.league.losses import compute_losses
from benchmarks.league.panel import issue_days, load_panel
from benchmarks.league.score import Score, score
from benchmarks.league.tasks import Task, by_name

FITS, ISSUES = 4, 42
# The budget exceeds what a fit needs, so that the data end it and not the clock.
_SETTINGS = {"GATECAST_TRAINING__BUDGET": "900s"}


def validation_tasks(task: Task) -> list[Task]:
    """Return the task with other test periods: 42 issue days each, evenly spread over the time before its own."""
    days = 724 if task.group == "market" else 365  # 500 business days are 724 days
    begin = date.fromisoformat(task.start) - timedelta(days=days)
    tasks = []
    for number in range(FITS):
        start = begin + timedelta(days=number * days // FITS)
        period = replace(task, start=str(start), end=str(start + timedelta(days=2 * ISSUES)))
        tasks.append(replace(period, end=str(issue_days(period)[ISSUES - 1])))
    return tasks


def score_one_fit(task: Task, folder: Path) -> tuple[Score, float]:
    """Return the score of one fit, and the CPU-seconds of the fit and its forecasts."""
    cost = runs.backtest(task, issue_days(task), "3650d", folder, _SETTINGS | os.environ)
    panel = load_panel(task)
    quantiles = forecasts.to_array(panel, pl.read_parquet(folder / "forecasts.parquet"))
    return score(panel, compute_losses(panel, quantiles)), cost["cpu_s"]


def main() -> None:
    """Print one line per task: the geometric mean of the fits' pinball, each fit, MAE, coverage and CPU-seconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.league.validation")
    parser.add_argument("tasks", nargs="+", type=by_name)
    for task in parser.parse_args().tasks:
        task.prepare()
        with tempfile.TemporaryDirectory(prefix="gatecast-validation-") as scratch:
            fits = [score_one_fit(part, Path(scratch) / part.start) for part in validation_tasks(task)]
        pinball = np.array([one.pinball for one, _ in fits])
        print(
            f"{task.name}: pinball {np.exp(np.log(pinball).mean()):.4f} ({', '.join(f'{x:.4f}' for x in pinball)}), "
            f"MAE {np.mean([one.mae for one, _ in fits]):.4g}, 80% covers "
            f"{np.mean([one.coverage_80 for one, _ in fits]):.0%}, {np.mean([cpu for _, cpu in fits]):.0f} CPU-s a fit",
            flush=True,
        )


if __name__ == "__main__":
    main()
