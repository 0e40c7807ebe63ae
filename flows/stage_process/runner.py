"""A stage in a process of its own: bounded in time, and stopped with all that it started.

A source that hangs inside a driver, a training that the kernel kills for its memory or a runtime that crashes would
take the night with it. Here each costs its stage only: the caller gets the result, or one sentence why there is none.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import signal
import subprocess
import sys
import threading
from typing import IO, Any

from flows import logs
from flows.stage_process.panics import without_panics

_KEPT = 3  # last lines of what a crashed stage wrote, for its reason


class StageFailed(Exception):
    """A stage gave no result: it failed, crashed, or took longer than it was given. The message says which."""


def run_stage(stage: str, pipeline: str, at: str, limit: float | None, **options: Any) -> Any:
    """The result of a stage of `STAGES`, run with the pipeline file at `pipeline` as of `at` (ISO 8601, UTC).

    Args:
        limit: seconds after which the stage is killed; None: never.
        options: of the stage; anything JSON can say.

    Raises:
        StageFailed: with the stage's own error where it gave one.
    """
    if limit is not None and limit <= 0:
        raise StageFailed("no time was left for it before the deadline")
    job = {"stage": stage, "pipeline": pipeline, "at": at, "options": options}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.stage_process.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    written: list[str] = []
    answer: list[str] = []
    readers = [
        # In the caller's context, without which Prefect does not know whose lines they are.
        threading.Thread(
            target=contextvars.copy_context().run, args=(_forward, process.stderr, written, stage), daemon=True
        ),
        threading.Thread(target=lambda out: answer.append(out.read()), args=(process.stdout,), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            # Left open: a stage whose caller died sees its end and stops.
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        process.wait(limit)
    except subprocess.TimeoutExpired:
        raise StageFailed(f"stopped after {limit:.0f} s, all the time it had") from None
    finally:
        # The whole session: whatever the stage started goes with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for reader in readers:
            reader.join(timeout=5)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    return _result(process.returncode, "".join(answer), written)


def _result(status: int, answer: str, written: list[str]) -> Any:
    if status < 0:
        raise StageFailed(f"its process was killed ({signal.Signals(-status).name})")
    try:
        said = json.loads(answer)
    except ValueError:
        last = " | ".join(written[-_KEPT:]) or "it wrote nothing"
        raise StageFailed(f"its process ended with status {status}: {last}") from None
    if "error" in said:
        raise StageFailed(said["error"])
    return said["result"]


def _forward(errors: IO[str], kept: list[str], stage: str) -> None:
    """What the stage logs, line by line into the caller's log."""
    for line in without_panics(errors):
        text = line.rstrip()
        if text:
            kept.append(logs.relay(text, stage))
