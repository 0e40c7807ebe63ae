"""Runs of the league: each forecaster and task in a process of its own, whose CPU the kernel measures (wait4)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.league import entry, forecasts, results
from benchmarks.league.panel import issue_days
from benchmarks.league.peers import Peer
from benchmarks.league.results import GATECAST, RETRAIN_EVERY, facts_path, forecast_path, result_key
from benchmarks.league.tasks import ROOT, Task

#: Adds the cost of one run, `cpu_s` and `wall_s`, to those before it.
AddCost = Callable[[Mapping[str, float]], None]

_QUICK_BUDGET = {"GATECAST_TRAINING__BUDGET": "5s"}
# Exit status 3 means that some rows are not `model`.
_PUBLISHED = (0, 3)
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


class RunFailed(Exception):
    """A forecaster wrote no forecast. The message names it and its exit status."""


def run_peer(task: Task, peer: Peer, data: str, python: Path, quick: bool) -> None:
    """Make a peer's forecasts of a task, unless they exist with the current settings and data.

    Raises:
        RunFailed: The peer's process failed.
    """
    if results.has_forecasts(task, peer, data, quick):
        return
    settings, out = entry.peer_settings(peer, task, quick), forecast_path(task, peer.name, quick)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").unlink(missing_ok=True)
    command = ["nice", "-n", "15", str(python), "-m", "benchmarks.league.entry", task.name, peer.name, str(out)]
    status, cost = _run(f"{task.name}, {peer.name}", [*command, *(["--quick"] if quick else [])], _ONE_THREAD)
    if status:
        raise RunFailed(f"{peer.name} on {task.name} ended with exit status {status}.")
    forecasts.write_facts(out, {"key": result_key(task, peer, data, quick), "settings": settings, **cost})


def run_gatecast(task: Task, data: str, quick: bool) -> None:
    """Backtest a task's pipeline by the public command, unless that is done. Continue an interrupted backtest.

    Raises:
        RunFailed: The backtest failed, or its folder holds another pipeline file or other data.
    """
    if results.has_forecasts(task, None, data, quick):
        return
    folder, key = facts_path(task, None, quick), result_key(task, None, data, quick)
    folder.parent.mkdir(parents=True, exist_ok=True)
    facts = forecasts.read_facts(folder)
    if facts.get("key", key) != key:
        raise RunFailed(
            f"{folder.relative_to(ROOT)} holds a backtest of another pipeline file or other data. Remove it to start "
            "again."
        )
    total: dict[str, Any] = {"cpu_s": 0.0, "wall_s": 0.0, "runs": 0} | facts

    def add_cost(cost: Mapping[str, float]) -> None:
        sums = {name: total[name] + cost[name] for name in ("cpu_s", "wall_s")}
        code = sorted({*total.get("code", []), results.code_hash()})
        total.update(sums, runs=total["runs"] + 1, key=key, code=code)
        forecasts.write_facts(folder, total)

    days = issue_days(task, entry.QUICK_ISSUES if quick else None)
    backtest(task, days, RETRAIN_EVERY, folder, _QUICK_BUDGET if quick else {}, add_cost)
    forecasts.write_facts(folder, total | {"done": True})


def backtest(
    task: Task, days: list[date], retrain_every: str, folder: Path, environment: Mapping[str, str],
    add_cost: AddCost | None = None,
) -> dict[str, float]:  # fmt: skip
    """Run `gatecast backtest` over these days into `folder` and return its cost.

    Raises:
        RunFailed: The backtest published nothing.
    """
    command = [
        str(Path(sys.executable).parent / "gatecast"), "backtest", str(task.pipeline_path), "--start", str(days[0]),
        "--end", str(days[-1]), "--retrain-every", retrain_every, "--output", str(folder), "--quiet",
    ]  # fmt: skip
    status, cost = _run(f"{task.name}, {GATECAST}", command, environment, add_cost)
    if status not in _PUBLISHED:
        raise RunFailed(f"gatecast on {task.name} ended with exit status {status}.")
    return cost


def _run(
    title: str, command: list[str], environment: Mapping[str, str], add_cost: AddCost | None = None
) -> tuple[int, dict[str, float]]:
    """Return the exit status and the cost of a command. `add_cost` is called also after an interruption."""
    print(f"{time.strftime('%H:%M:%S')} {title}", flush=True)
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment})
    interrupted = False
    while True:
        try:
            _, status, usage = os.wait4(process.pid, 0)
            break
        except KeyboardInterrupt:
            interrupted = True
            process.terminate()
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    cost = {"cpu_s": round(usage.ru_utime + usage.ru_stime, 2), "wall_s": round(wall, 2)}
    if add_cost is not None:
        add_cost(cost)
    if interrupted:
        raise KeyboardInterrupt
    return process.returncode, cost
