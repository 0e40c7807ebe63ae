"""What a process costs, as the kernel counted it: its peak is never below that of the process that starts it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.many import ISSUE, ROOT

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Cost(NamedTuple):
    """Of one process: seconds by the wall, seconds of CPU, peak resident memory in MB."""

    wall: float
    cpu: float
    memory: float


def forecasting(path: Path) -> list[str]:
    """The command that forecasts the pipeline of `path`."""
    return [sys.executable, "-m", "flows", "forecast", str(path), "--issue-time", ISSUE.isoformat(), "--quiet"]


def measured(command: list[str], one_thread: bool = False) -> tuple[Cost, str]:
    """One run in a process of its own: its cost, and what it printed. Ends everything where it fails.

    Args:
        one_thread: tell every library to use one, and leave the process one core.
    """
    with tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT,
            env={**os.environ, **_ONE_THREAD} if one_thread else None, preexec_fn=_one_core if one_thread else None,
        )  # fmt: skip
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        if os.waitstatus_to_exitcode(status):
            errors.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024), printed


def _one_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def in_turns(commands: Mapping[str, list[str]], rounds: int, one_thread: bool = False) -> dict[str, Cost]:
    """The medians of each figure of each command over runs that take turns, so that a busy minute meets all of them."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(measured(command, one_thread)[0])
    return {name: Cost(*map(statistics.median, zip(*found, strict=True))) for name, found in costs.items()}


def loads(before: float) -> str:
    """The last line of a table: how busy the machine was."""
    return f"\nLoad average before: {before:.1f}; after, with this: {os.getloadavg()[0]:.1f}."
