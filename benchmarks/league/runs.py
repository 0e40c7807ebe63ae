"""Running what is missing: each forecaster and task in a process of its own, whose CPU the kernel counts (wait4)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.league import entry, forecasts, panel
from benchmarks.league.peers import Peer
from benchmarks.league.tasks import ROOT, STORE, Task

GATECAST = "gatecast"
RETRAIN = "7d"
_QUICK_BUDGET = {"GATECAST_TRAINING__BUDGET": "5s"}
_PUBLISHED = (0, 3)  # 3: some rows are the baseline's
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


class RunFailed(Exception):
    """A forecaster gave no forecast. The message names it and says how it ended."""


def place(task: Task, who: str, quick: bool) -> Path:
    """Where the forecasts of a task lie, if they were made."""
    if who == GATECAST:
        return STORE / ("quick/backtests" if quick else "backtests") / task.name / "forecasts.parquet"
    return STORE / ("quick" if quick else "forecasts") / task.name / f"{who}.parquet"


def made(task: Task, who: Peer | None, data: str, quick: bool) -> tuple[Path, float] | None:
    """Where the forecasts of a peer (None: Gatecast) are and the CPU-seconds they took, if they were made with these
    settings and data.
    """
    if who is None:
        out = place(task, GATECAST, quick)
        facts, wanted = forecasts.read_facts(out.parent), _gatecast_key(task, data)
        there = out.exists() and facts.get("done") and facts["key"] == wanted
    else:
        out = place(task, who.name, quick)
        facts = forecasts.read_facts(out)
        there = facts.get("key") == forecasts.key(entry.settings(who, task, quick), data)
    return (out, facts["cpu_s"]) if there else None


def peer(task: Task, who: Peer, data: str, python: Path, quick: bool) -> None:
    """Make a peer's forecasts of a task, unless they are there with these settings and data."""
    if made(task, who, data, quick):
        return
    settings, out = entry.settings(who, task, quick), place(task, who.name, quick)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").unlink(missing_ok=True)
    command = ["nice", "-n", "15", str(python), "-m", "benchmarks.league.entry", task.name, who.name, str(out)]
    status, cost = _run(f"{task.name}, {who.name}", [*command, *(["--quick"] if quick else [])], _ONE_THREAD)
    if status:
        raise RunFailed(f"{who.name} on {task.name} ended with {status}")
    forecasts.write_facts(out, {"key": forecasts.key(settings, data), "settings": settings, **cost})


def gatecast(task: Task, data: str, quick: bool) -> None:
    """Backtest the task's pipeline by the public command, unless it is done; one that broke off goes on.

    Raises:
        RunFailed: also if the folder holds the backtest of another pipeline file or other data.
    """
    if made(task, None, data, quick):
        return
    folder, wanted = place(task, GATECAST, quick).parent, _gatecast_key(task, data)
    folder.parent.mkdir(parents=True, exist_ok=True)
    facts = forecasts.read_facts(folder)
    if facts.get("key", wanted) != wanted:
        raise RunFailed(f"{folder.relative_to(ROOT)} is of another pipeline file or other data: remove it to run anew")
    days = panel.issue_days(task, entry.QUICK_ISSUES if quick else None)
    command = [
        str(Path(sys.executable).parent / "gatecast"), "backtest", str(task.file), "--start", str(days[0]),
        "--end", str(days[-1]), "--retrain-every", RETRAIN, "--output", str(folder), "--quiet",
    ]  # fmt: skip
    so_far = {"cpu_s": 0.0, "wall_s": 0.0, "runs": 0} | facts

    def count(cost: Mapping[str, float]) -> None:
        total = {name: so_far[name] + cost[name] for name in ("cpu_s", "wall_s")}
        so_far.update(total, runs=so_far["runs"] + 1, key=wanted)
        forecasts.write_facts(folder, so_far)

    status, _ = _run(f"{task.name}, {GATECAST}", command, _QUICK_BUDGET if quick else {}, count)
    if status not in _PUBLISHED:
        raise RunFailed(f"gatecast on {task.name} ended with {status}")
    forecasts.write_facts(folder, so_far | {"done": True})


def _gatecast_key(task: Task, data: str) -> str:
    return forecasts.key({"file": task.file.read_text(), "retrain": RETRAIN}, data)


def _run(what: str, command: list[str], extra: Mapping[str, str], count: Any = None) -> tuple[int, dict[str, float]]:
    """Exit status and cost of a command; `count` is told the cost also if it is interrupted."""
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | extra)
    broken = False
    while True:
        try:
            _, status, usage = os.wait4(process.pid, 0)
            break
        except KeyboardInterrupt:
            broken = True
            process.terminate()
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    cost = {"cpu_s": round(usage.ru_utime + usage.ru_stime, 2), "wall_s": round(wall, 2)}
    if count is not None:
        count(cost)
    if broken:
        raise KeyboardInterrupt
    return process.returncode, cost
