"""Main module of a stage process."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from datetime import datetime
from typing import Any

from flows import logs
from flows.stage_process.environment import PASSIVE_WAIT, SINGLE_THREAD_NUMPY
from flows.stage_process.table import STAGES


def _main() -> None:
    # Whatever a library prints goes to the log; only the result goes to the caller.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.putenv(*PASSIVE_WAIT)
    os.putenv(*SINGLE_THREAD_NUMPY)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    logs.log_to_parent(sys.stderr)
    result: dict[str, Any]
    try:
        result = {"result": STAGES[job["stage"]](job["pipeline"], datetime.fromisoformat(job["at"]), job["options"])}
    except Exception as error:
        from flows.settings.file import PipelineFileError
        from storage.redaction import redact
        from storage.schemas import DataError

        expected = isinstance(error, DataError | PipelineFileError | OSError)
        if not expected:
            logging.getLogger("flows").exception("%s", job["stage"])
        result = {"error": redact(str(error) if expected else f"{type(error).__name__}: {error}")}
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
