"""What a change of the network gives before the league's tests: `python -m benchmarks.league.validation TASK ...`.

Four fits spread over the year (of a market: the 500 business days) before a task's test period, each by the public
command `backtest` and used for the 42 nights after it. Settings are changed as always, by `GATECAST_...`. Nothing of a
test period is looked at.
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

from benchmarks.league import forecasts, panel, runs
from benchmarks.league.score import Score, score
from benchmarks.league.tasks import Task, by_name

FITS, NIGHTS = 4, 42
_SETTINGS = {"GATECAST_TRAINING__BUDGET": "900s"}  # what ends a fit is the data, not the clock


def periods(task: Task) -> list[Task]:
    """The task with other test periods: 42 issue days each, evenly spread over what lies before its own."""
    days = 724 if task.group == "market" else 365  # 500 business days are 724 days
    begin = date.fromisoformat(task.start) - timedelta(days=days)
    parts = []
    for number in range(FITS):
        start = begin + timedelta(days=number * days // FITS)
        year = replace(task, start=str(start), end=str(start + timedelta(days=2 * NIGHTS)))
        parts.append(replace(year, end=str(panel.issue_days(year)[NIGHTS - 1])))
    return parts


def run(task: Task, folder: Path) -> tuple[Score, float]:
    """Score of one fit, and the CPU-seconds that it and its forecasts took."""
    cost = runs.backtest(task, panel.issue_days(task), "3650d", folder, _SETTINGS | os.environ)
    given = panel.load(task)
    return score(given, forecasts.cube(given, pl.read_parquet(folder / "forecasts.parquet"))), cost["cpu_s"]


def main() -> None:
    """A line a task: the geometric mean of the fits' pinball, and each; MAE, coverage and CPU-seconds a fit."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks.league.validation")
    asked.add_argument("tasks", nargs="+", type=by_name)
    for task in asked.parse_args().tasks:
        task.prepare()
        with tempfile.TemporaryDirectory(prefix="gatecast-validation-") as scratch:
            made = [run(part, Path(scratch) / part.start) for part in periods(task)]
        losses = np.array([one.pinball for one, _ in made])
        print(
            f"{task.name}: pinball {np.exp(np.log(losses).mean()):.4f} ({', '.join(f'{x:.4f}' for x in losses)}), MAE "
            f"{np.mean([one.mae for one, _ in made]):.4g}, 80% covers "
            f"{np.mean([one.coverage_80 for one, _ in made]):.0%}, {np.mean([cpu for _, cpu in made]):.0f} CPU-s a fit",
            flush=True,
        )


if __name__ == "__main__":
    main()
