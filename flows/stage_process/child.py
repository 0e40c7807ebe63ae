"""Main module of a stage process: reads a job from standard input, and writes its result to standard output."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from datetime import datetime

from flows import logs
from flows.stage_process.environment import PASSIVE_WAIT, SINGLE_THREAD_NUMPY
from flows.stage_process.listener import progress_writer
from flows.stage_process.table import STAGES, Job, report_to


def _main() -> None:
    # Only the result may go to standard output. Text that a library prints goes to the log.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.putenv(*PASSIVE_WAIT)
    os.putenv(*SINGLE_THREAD_NUMPY)
    os.putenv("PYTHONSAFEPATH", "1")  # as -P of this process, for those that it starts
    job: Job = json.loads(sys.stdin.readline())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    logs.log_to_parent(sys.stderr)
    report_to(progress_writer(sys.stderr))
    output.write(json.dumps(_run(job)))
    output.close()
    sys.stderr.flush()
    # Skip the interpreter's shutdown, which waits for threads. A source may hang in one.
    os._exit(0)


def _run(job: Job) -> dict[str, object]:
    """Return the result of a job, or its error."""
    # These imports load NumPy, which reads the environment that `_main` has set.
    from flows.settings.file import PipelineFileError, open_pipeline
    from storage.redaction import redact, redact_values
    from storage.schemas.attempts import Failed, attempt

    started = time.monotonic()
    result = attempt(
        lambda: STAGES[job["stage"]](
            open_pipeline(job["pipeline"], job["text"]), datetime.fromisoformat(job["time"]), job["options"]
        )
    )
    if not isinstance(result, Failed):
        seconds = time.monotonic() - started
        logging.getLogger("flows.stage_process").info("Stage %s finished in %.1f s.", job["stage"], seconds)
        return {"result": redact_values(json.loads(json.dumps(result, default=str)))}
    if isinstance(result.error, PipelineFileError):
        return {"error": redact(str(result.error))}
    if not result.is_expected:
        logging.getLogger("flows").error("Stage %s failed.", job["stage"], exc_info=result.error)
    return {"error": redact(result.text)}


def _exit_with_parent() -> None:
    """End the process when standard input ends, that is, when the parent is gone."""
    while sys.stdin.read(1):
        pass
    os._exit(1)


if __name__ == "__main__":
    _main()
