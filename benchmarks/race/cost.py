"""What a process costs, as the kernel counted it: its peak is never below that of the process that starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.first_light import Cost
from benchmarks.many import ISSUE, ROOT


def forecasting(path: Path) -> list[str]:
    """The command that forecasts the pipeline of `path`."""
    return [sys.executable, "-m", "flows", "forecast", str(path), "--issue-time", ISSUE.isoformat(), "--quiet"]


def measured(command: list[str]) -> tuple[Cost, str]:
    """One run in a process of its own: its cost, and what it printed. Ends everything where it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{command} failed")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024), printed
