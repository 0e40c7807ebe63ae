"""Nightly runs in this process without Prefect's server, and faults in their calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from prefect.states import Completed, Failed

from flows import artifacts, tasks
from flows import nightly as nightly_flow
from flows.settings.file import open_pipeline
from flows.stage_process.runner import StageFailed
from flows.stage_process.table import STAGES
from storage.schemas import DataError
from storage.schemas.attempts import failure_text, is_failure
from storage.schemas.records import RunRecord
from storage.store import FolderStore

#: Each kind of error that a call may raise.
FAULTS: dict[str, Callable[[], BaseException]] = {
    "OSError": lambda: OSError(5, "Input/output error", "file"),
    "PermissionError": lambda: PermissionError(13, "Permission denied", "file"),
    "DataError": lambda: DataError("the input cannot be used"),
    "ValueError": lambda: ValueError("a wrong value"),
    "PanicException": lambda: pl.exceptions.PanicException("a panic"),
}
_LIMIT = {"within": 600.0}
_NOTHING: dict[str, object] = {"feeds": {}, "failures": {}}
_SCORES: dict[str, object] = {"alerts": [], "decay": None}
#: Stages without a result that any test of the forecast needs.
STUBS: Mapping[str, object] = {"ingest": _NOTHING, "score": _SCORES | {"summary": {}}, "report": {"path": "page"}}


def run_night(path: Path, issue_time: str, stubs: Mapping[str, object] = STUBS) -> RunRecord:
    """Run one night and return its record. A stage in `stubs` returns that result, or raises that error."""
    with pytest.MonkeyPatch.context() as patch:
        for stage in ("ingest", "train", "forecast", "score", "report"):
            patch.setattr(tasks, f"{stage}_task", _task(stage, stubs))
        patch.setattr(tasks, "decide", _decide)
        # The metrics of a stub have no scores, and there is no server for artifacts.
        patch.setattr(artifacts, "publish_artifacts", lambda *_: None)
        if "score" in stubs:
            patch.setattr(nightly_flow, "write_metrics", lambda *_: "")
        # Not in the main thread: the browser of other tests keeps an event loop running there, and Prefect's states
        # would give coroutines.
        with ThreadPoolExecutor(1) as beside:
            state: Any = beside.submit(nightly_flow.nightly.fn, str(path), issue_time).result()
    return cast(RunRecord, state.data)


def _decide(path: str, time: str, limit: float, alert_reason: str | None) -> Any:
    run = _task("decide", {})
    return run(path, time, alert_reason=alert_reason)["reason"]


def _task(stage: str, stubs: Mapping[str, object]) -> Callable[..., Any]:
    def run(path: str, time: str, *_: object, return_state: bool = False, **options: Any) -> Any:
        # As in a process of its own: any failure of the stage becomes one message.
        try:
            result = _result(stage, path, time, options, stubs)
        except BaseException as error:
            if not is_failure(error):
                raise
            failed = StageFailed(failure_text(error))
            if return_state:
                return Failed(data=failed, message=str(failed))
            raise failed from error
        return Completed(data=result) if return_state else result

    return run


def _result(stage: str, path: str, time: str, options: dict[str, Any], stubs: Mapping[str, object]) -> Any:
    stub = stubs.get(stage)
    if isinstance(stub, BaseException):
        raise stub
    if stub is not None:
        return json.loads(json.dumps(stub))
    result = STAGES[stage](open_pipeline(path), datetime.fromisoformat(time), _LIMIT | options)
    return json.loads(json.dumps(result, default=str))


@contextmanager
def fault_in_store(method: str, key: str, fault: Callable[[], BaseException]) -> Any:
    """Let a method of stores in folders raise an error for all keys that contain `key`."""
    original = getattr(FolderStore, method)

    def call(self: FolderStore, *arguments: object) -> Any:
        if key in json.dumps(arguments, default=str):
            raise fault()
        return original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderStore, method, call)
        yield


@contextmanager
def fault_in_call(name: str, fault: Callable[[], BaseException]) -> Any:
    """Let a function, given as `module.name`, raise an error."""

    def call(*_: object, **__: object) -> Any:
        raise fault()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(name, call)
        yield
