"""Cost of a process as the kernel measures it.

The peak memory of a process is never below that of the process that starts it.
"""

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
    """Cost of one process: wall-clock seconds, CPU-seconds, peak resident memory in MB."""

    wall: float
    cpu: float
    memory: float


def forecast_command(path: Path) -> list[str]:
    """Return the command that forecasts the pipeline file `path`."""
    return [sys.executable, "-m", "flows", "forecast", str(path), "--issue-time", ISSUE.isoformat(), "--quiet"]


def measure(command: list[str], one_thread: bool = False) -> tuple[Cost, str]:
    """Run a command and return its cost and its output. Exit if it fails.

    Args:
        command: The command.
        one_thread: Whether to set every library to one thread and the process to one core.
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


def median_costs(commands: Mapping[str, list[str]], rounds: int, one_thread: bool = False) -> dict[str, Cost]:
    """Return the median of each figure of each command. Commands alternate, so that other load affects all of them."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(measure(command, one_thread)[0])
    return {name: Cost(*map(statistics.median, zip(*runs, strict=True))) for name, runs in costs.items()}


def load_note(before: float) -> str:
    """Return the last line of a result: the load of the machine."""
    return f"\nLoad average before: {before:.1f}; after, with this run: {os.getloadavg()[0]:.1f}."
