"""A stage in a process of its own: bounded in time, and stopped with all that it started.

A source that hangs inside a driver, a training that the kernel kills for its memory or a runtime that crashes would
take the night with it. Here each costs its stage only: the caller gets the result, or one sentence why there is none.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import IO, Any

from flows import logs

logger = logging.getLogger("flows.apart")  # also where this is the main module of a process

#: A thread of OpenMP's that waits by spinning takes the core that another needs: on a busy machine a fit then gets
#: through a tenth of its steps. Read when torch is loaded.
PASSIVE = ("OMP_WAIT_POLICY", "PASSIVE")
#: No stage multiplies matrices in numpy, whose threads would be started nevertheless: 50 ms of CPU. Read when numpy is.
NO_THREADS = ("OPENBLAS_NUM_THREADS", "1")
_KEPT = 3  # last lines of what a crashed stage wrote, for its reason


class StageFailed(Exception):
    """A stage gave no result: it failed, crashed, or took longer than it was given. The message says which."""


def run(stage: str, pipeline: str, at: str, limit: float | None, **options: Any) -> dict[str, Any]:
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
        [sys.executable, "-m", "flows.apart"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True
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


def _result(status: int, answer: str, written: list[str]) -> dict[str, Any]:
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
    for line in errors:
        text = line.rstrip()
        if text:
            kept.append(logs.take(text, stage))


def _ingest(pipeline: str, at: datetime, options: dict[str, Any]) -> dict[str, Any]:
    from flows import clock
    from flows.stages.ingest import ingest

    settings, store = _open(pipeline)
    return ingest(settings, store, at, clock.now(), _log, within=options["within"])


def _train(pipeline: str, at: datetime, options: dict[str, Any]) -> dict[str, Any]:
    from flows import clock
    from flows.stages.train import train

    settings, store = _open(pipeline)
    return train(settings, store, at, clock.now(), _log)


def _forecast(pipeline: str, at: datetime, options: dict[str, Any]) -> dict[str, Any]:
    from flows.stages.forecast import forecast

    settings, store = _open(pipeline)
    within = options.pop("within")
    end = math.inf if within is None else time.monotonic() + within

    stale = options.pop("stale", None)

    def attempt(damage: str | None) -> dict[str, Any]:
        why = "; ".join(filter(None, (stale, damage))) or None
        return forecast(settings, store, at, stale=why, in_time=lambda: time.monotonic() < end, **options)

    return _without_damage(settings, store, attempt)


def _plan(pipeline: str, at: datetime, options: dict[str, Any]) -> dict[str, Any]:
    from flows import clock
    from flows.stages.staged import plan

    settings, store = _open(pipeline)
    return plan(settings, store, at, clock.now(), **options)


def _assemble(pipeline: str, at: datetime, options: dict[str, Any]) -> dict[str, Any]:
    from flows.stages.staged import assemble

    settings, store = _open(pipeline)
    # JSON knows no numbers as keys.
    failures = {int(shard): reason for shard, reason in options["failures"].items()}
    return _without_damage(settings, store, lambda _: assemble(settings, store, options["run"], failures))


def _without_damage(settings, store, attempt: Callable[[str | None], dict[str, Any]]) -> dict[str, Any]:
    """The night must have a forecast: where the history is damaged, of what can be read, and told what is damaged."""
    from storage import history

    try:
        return attempt(None)
    except history.DamagedHistory as error:
        for feed in settings.feed:
            history.set_aside(store, settings.name, feed.name)
        return attempt(str(error))


def _score(pipeline: str, at: datetime, options: dict[str, Any]) -> dict[str, Any]:
    from flows.stages.score import score

    settings, store = _open(pipeline)
    return score(settings, store, at, progress=_log)


def _report(pipeline: str, at: datetime, options: dict[str, Any]) -> dict[str, Any]:
    from flows.stages.report import report

    settings, store = _open(pipeline)
    return report(settings, store, at)


def _backfill(pipeline: str, at: datetime, options: dict[str, Any]) -> dict[str, Any]:
    from flows import clock
    from flows.stages.backfill import backfill

    settings, store = _open(pipeline)
    start, end = (clock.parse_day(options[name]) for name in ("start", "end"))
    return backfill(settings, store, start, end, at, _log)


#: What can be run apart.
STAGES: dict[str, Callable[[str, datetime, dict[str, Any]], dict[str, Any]]] = {
    "ingest": _ingest,
    "train": _train,
    "forecast": _forecast,
    "plan": _plan,
    "assemble": _assemble,
    "score": _score,
    "report": _report,
    "backfill": _backfill,
}


def _open(path: str):  # -> tuple[Pipeline, Store]
    from flows import pipeline_file
    from storage.store import open_store

    settings = pipeline_file.read(path)
    return settings, open_store(settings.pipeline.store)


def _log(what: str, done: float) -> None:
    logger.info("%s: %.0f%%", what, 100 * done)


def _main() -> None:
    # Whatever a library prints goes to the log; only the result goes to the caller.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.putenv(*PASSIVE)
    os.putenv(*NO_THREADS)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    logs.to_the_caller(sys.stderr)
    result: dict[str, Any]
    try:
        result = {"result": STAGES[job["stage"]](job["pipeline"], datetime.fromisoformat(job["at"]), job["options"])}
    except Exception as error:
        from flows.pipeline_file import PipelineFileError
        from storage.redaction import hide
        from storage.schemas import DataError

        expected = isinstance(error, DataError | PipelineFileError | OSError)
        if not expected:
            logging.getLogger("flows").exception("%s", job["stage"])
        result = {"error": hide(str(error) if expected else f"{type(error).__name__}: {error}")}
    answer.write(json.dumps(result, default=str))
    answer.close()
    sys.stderr.flush()
    # Not through the interpreter's end: a thread that hangs in a source would hold it up.
    os._exit(0)


def _end_with_the_caller() -> None:
    while sys.stdin.read(1):
        pass
    os._exit(1)


if __name__ == "__main__":
    _main()
