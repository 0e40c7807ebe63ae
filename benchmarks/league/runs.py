"""Running what is missing: each forecaster and task in a process of its own, whose CPU the kernel counts (wait4)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.league import entry, forecasts, kept, panel
from benchmarks.league.peers import Peer
from benchmarks.league.tasks import ROOT, STORE, Task

GATECAST = "gatecast"
RETRAIN = "7d"
_QUICK_BUDGET = {"GATECAST_TRAINING__BUDGET": "5s"}
KEPT = Path(__file__).parent / "kept"
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
    out = place(task, _name(who), quick)
    facts = forecasts.read_facts(_owner(out, who))
    whole = facts.get("done", who is not None)  # a backtest has facts before it has ended
    there = out.exists() and facts.get("key") == _key(task, who, data, quick) and whole
    return (out, facts["cpu_s"]) if there else None


def keep(task: Task, who: Peer | None, data: str) -> None:
    """Copy forecasts that were made into the repository, if they took long."""
    if not (there := made(task, who, data, quick=False)) or (who is not None and who.cheap):
        return
    target = _kept(task, who)
    target.parent.mkdir(parents=True, exist_ok=True)
    packed = kept.pack(panel.load(task), pl.read_parquet(there[0]))
    packed.write_parquet(target, compression="zstd", compression_level=19, row_group_size=len(packed))
    forecasts.write_facts(target, forecasts.read_facts(_owner(there[0], who)))


def restore(task: Task, who: Peer | None, data: str) -> None:
    """Take forecasts from the repository, if they are of these settings and data and none are being made here."""
    source, out = _kept(task, who), place(task, _name(who), quick=False)
    facts = forecasts.read_facts(source)
    if facts.get("key") != _key(task, who, data, quick=False) or _owner(out, who).exists():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    kept.unpack(panel.load(task), pl.read_parquet(source)).write_parquet(out)
    forecasts.write_facts(_owner(out, who), facts)


def code() -> str:
    """Hash of Gatecast's model and stages: what else its forecasts depend on."""
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "model").rglob("*.py"), *(ROOT / "flows" / "stages").glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def made_by(task: Task) -> list[str]:
    """The code (see `code`) that made Gatecast's forecasts of a task: more than one, if it was taken up again."""
    return forecasts.read_facts(place(task, GATECAST, quick=False).parent).get("code", [])


def _name(who: Peer | None) -> str:
    return GATECAST if who is None else who.name


def _owner(out: Path, who: Peer | None) -> Path:
    """What the facts lie beside: the forecasts, or the folder of a backtest."""
    return out if who is not None else out.parent


def _kept(task: Task, who: Peer | None) -> Path:
    return KEPT / task.name / f"{_name(who)}.parquet"


def _key(task: Task, who: Peer | None, data: str, quick: bool) -> str:
    if who is None:
        return forecasts.key({"file": task.file.read_text(), "retrain": RETRAIN}, data)
    return forecasts.key(entry.settings(who, task, quick), data)


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
    folder, wanted = place(task, GATECAST, quick).parent, _key(task, None, data, quick)
    folder.parent.mkdir(parents=True, exist_ok=True)
    facts = forecasts.read_facts(folder)
    if facts.get("key", wanted) != wanted:
        raise RunFailed(f"{folder.relative_to(ROOT)} is of another pipeline file or other data: remove it to run anew")
    so_far: dict[str, Any] = {"cpu_s": 0.0, "wall_s": 0.0, "runs": 0} | facts

    def count(cost: Mapping[str, float]) -> None:
        total = {name: so_far[name] + cost[name] for name in ("cpu_s", "wall_s")}
        by = sorted({*so_far.get("code", []), code()})
        so_far.update(total, runs=so_far["runs"] + 1, key=wanted, code=by)
        forecasts.write_facts(folder, so_far)

    days = panel.issue_days(task, entry.QUICK_ISSUES if quick else None)
    backtest(task, days, RETRAIN, folder, _QUICK_BUDGET if quick else {}, count)
    forecasts.write_facts(folder, so_far | {"done": True})


def backtest(
    task: Task, days: list[date], retrain: str, folder: Path, extra: Mapping[str, str], count: Any = None
) -> dict[str, float]:
    """Gatecast's public command over these days into `folder`; what it cost, which `count` is told as by `_run`.

    Raises:
        RunFailed: it published nothing.
    """
    command = [
        str(Path(sys.executable).parent / "gatecast"), "backtest", str(task.file), "--start", str(days[0]),
        "--end", str(days[-1]), "--retrain-every", retrain, "--output", str(folder), "--quiet",
    ]  # fmt: skip
    status, cost = _run(f"{task.name}, {GATECAST}", command, extra, count)
    if status not in _PUBLISHED:
        raise RunFailed(f"gatecast on {task.name} ended with {status}")
    return cost


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
