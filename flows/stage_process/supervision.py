"""Supervision of a command by its parent process, so that a computation which never ends does not hold the command.

ONNX Runtime looks at a limit between two operators only, and not at all while it loads a file. So the command
`forecast` computes in a child process. If the child is killed or exceeds its time, the parent publishes the baseline.
The process forks before it loads any library: until then the parent has one thread and a few megabytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from typing import Any

_PR_SET_PDEATHSIG = 1  # of Linux: a signal that the child gets when its parent ends

#: Why the child gave no forecast, None in the child and without supervision.
failure: str | None = None
_to_parent: int | None = None


def supervise() -> None:
    """Continue in a child process. In the parent, return only if the child has failed: `failure` says how."""
    global failure, _to_parent
    if not hasattr(os, "fork"):
        return
    from_child, to_parent = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(from_child)
        with contextlib.suppress(OSError, AttributeError):  # not Linux
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _to_parent = to_parent
        return
    os.close(to_parent)
    before = signal.signal(signal.SIGTERM, lambda number, frame: _forward(child, number, frame))
    # The terminal sends an interrupt to the child too, which ends with a message of its own.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    failure = _wait(child, from_child)
    os.close(from_child)
    signal.signal(signal.SIGTERM, before)
    signal.signal(signal.SIGINT, interrupt)


def limit(seconds: float) -> None:
    """Send the parent the time that this process may still take. Without a parent nothing happens."""
    if _to_parent is not None:
        os.write(_to_parent, f"{time.monotonic() + seconds}\n".encode())


def _wait(child: int, from_child: int) -> str | None:
    """Return why a child was killed. End this process as the child ended, if it ended by itself."""
    end: float | None = None
    while True:
        remaining = None if end is None else max(0.0, end - time.monotonic())
        ready, _, _ = select.select([from_child], [], [], remaining)
        line = os.read(from_child, 64) if ready else b""
        if line:
            end = float(line.split()[-1])
            continue
        if ready:  # the child has ended
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status >= 0:
                sys.exit(status)
            if -status in (signal.SIGTERM, signal.SIGINT):
                sys.exit(128 - status)
            return f"its process was killed ({signal.Signals(-status).name})"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "it was stopped at its time limit. Raise forecast.deadline if the model needs more time"


def _forward(child: int, number: int, frame: Any) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)
