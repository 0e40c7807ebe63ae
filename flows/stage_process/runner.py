"""Runner of a stage in a process of its own, which is limited in time and killed with all its children.

A driver that hangs, a training that the kernel kills for its memory, or a runtime that crashes costs its stage only.
The caller receives the result, or an error in one sentence.
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
from flows.deadline import response_limit
from flows.held_text import held_text
from flows.stage_process import listener
from flows.stage_process.panics import without_panics
from flows.stage_process.table import Job
from storage.errors import ExpectedError

#: Stages that take about a second and that nobody waits for.
_HIDDEN = ("decide",)
_LAST_LINES = 3  # of the output of a crashed stage, for the error
#: What a user can do about a stage that exceeded its limit, by stage.
_REMEDIES = {
    "train": ". Raise forecast.deadline, lower training.budget, or run gatecast train FILE, which has no limit",
    "ingest": ". Raise forecast.deadline, or run gatecast ingest FILE before it",
}


class StageFailed(ExpectedError):
    """A stage without a result: it failed, crashed or exceeded its limit. The message names the cause."""


def run_stage(stage: str, pipeline_path: str, time: str, limit: float | None, **options: Any) -> Any:
    """Run a stage in a process of its own, and return its report.

    Args:
        stage: Name of the stage in `flows.stage_process.table.STAGES`.
        pipeline_path: Path of the pipeline file.
        time: As-of time, issue time or present time of the stage, ISO 8601 with an offset.
        limit: Seconds until the stage is killed, None for no limit.
        options: Options of the stage, ready for JSON. `within` is added: seconds after which the stage should end
            by itself, None without a limit.

    Raises:
        StageFailed: If the stage has no result, with the stage's own error if it has one.
    """
    shown = listener.Silent() if stage in _HIDDEN else listener.current()
    shown.start(stage)
    try:
        result = _run(stage, pipeline_path, time, limit, options)
    except Exception as error:
        shown.end(stage, str(error))
        raise
    shown.end(stage, None)
    return result


def make_job(stage: str, pipeline_path: str, time: str, limit: float | None, options: dict[str, Any]) -> Job:
    """Return the job of a stage. Arguments and errors are those of `run_stage`."""
    if limit is not None and limit <= 0:
        raise StageFailed("no time was left for it before the deadline")
    within = None if limit is None else response_limit(limit)
    return {
        "stage": stage, "pipeline": pipeline_path, "text": held_text(pipeline_path), "time": time,
        "options": {"within": within} | options,
    }  # fmt: skip


def _run(stage: str, pipeline_path: str, time: str, limit: float | None, options: dict[str, Any]) -> Any:
    job = make_job(stage, pipeline_path, time, limit, options)
    process = subprocess.Popen(
        # -P: no module of the present folder may take the place of one of this project.
        [sys.executable, "-P", "-m", "flows.stage_process.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    log_lines: list[str] = []
    output: list[str] = []
    readers = [
        # Prefect assigns a log line to its run by the context of the thread.
        threading.Thread(
            target=contextvars.copy_context().run, args=(_relay_lines, process.stderr, log_lines, stage), daemon=True
        ),
        threading.Thread(target=lambda stream: output.append(stream.read()), args=(process.stdout,), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            # Standard input stays open. The stage ends when it closes, so it does not outlive its parent.
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        process.wait(limit)
    except subprocess.TimeoutExpired:
        raise StageFailed(f"stopped after {limit:.0f} s, its time limit{_REMEDIES.get(stage, '')}") from None
    finally:
        # The session includes all processes that the stage started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for reader in readers:
            reader.join(timeout=5)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    return _parse_result(process.returncode, "".join(output), log_lines)


def _parse_result(status: int, output: str, log_lines: list[str]) -> Any:
    if status < 0:
        raise StageFailed(f"its process was killed ({signal.Signals(-status).name})")
    try:
        answer = json.loads(output)
    except ValueError:
        last = " | ".join(log_lines[-_LAST_LINES:]) or "it wrote nothing"
        raise StageFailed(f"its process ended with status {status}: {last}") from None
    if "error" in answer:
        raise StageFailed(answer["error"])
    return answer["result"]


def _relay_lines(stream: IO[str], log_lines: list[str], stage: str) -> None:
    """Log every line that the stage writes to standard error, and keep its message. Its progress is shown only."""
    for line in without_panics(stream):
        text = line.rstrip()
        progress = listener.read_progress(text)
        if progress is not None:
            listener.current().advance(stage, *progress)
        elif text:
            log_lines.append(logs.relay(text, stage))
