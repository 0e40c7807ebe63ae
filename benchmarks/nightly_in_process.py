"""A nightly run in this process: the code of the flow itself, without Prefect's server and with stages as functions.

A run as `gatecast nightly` takes several seconds to start Prefect and five processes. A run in this process takes less
than one, so that a simulated year is possible.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast
from unittest import mock

from flows.stage_process import child, runner
from flows.stage_process.table import STAGES, Job
from model.training.export_cache import ExportCache, use_export_cache

#: Called with the name of a stage before its function. What it raises is raised inside the stage.
BeforeStage = Callable[[str], None]

_STAGES = ("ingest", "train", "forecast", "score", "report")


class Night(NamedTuple):
    """Result of a nightly run: exit status as the command returns it, run record if there is one, and error."""

    exit_status: int
    record: dict[str, Any] | None
    error: str


@dataclass(frozen=True)
class _Done:
    """Stand-in for the Prefect state of a task that ended."""

    outcome: Any
    failed: bool

    def is_completed(self) -> bool:
        return not self.failed

    def result(self, raise_on_failure: bool = True) -> Any:
        if self.failed and raise_on_failure:
            raise self.outcome
        return self.outcome


def run_nightly(
    pipeline: Path,
    issue_time: datetime,
    environment: Mapping[str, str],
    before_stage: BeforeStage = lambda stage: None,
    exports: Path | None = None,
) -> Night:
    """Run the nightly flow once in this process.

    Args:
        pipeline: Path of the pipeline file.
        issue_time: Issue time of the run.
        environment: Environment variables of the run, beside those of this process.
        before_stage: Called before the function of each stage.
        exports: Folder in which exported graphs are kept between runs. None keeps the cache that the process has.
    """
    from flows.nightly import nightly

    use_exports(exports)
    with mock.patch.dict(os.environ, environment), _without_prefect(before_stage):
        try:
            state: Any = nightly.fn(str(pipeline), issue_time.isoformat())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of Polars is not an Exception
            return Night(1, None, f"{type(error).__name__}: {error}")
    record = cast("dict[str, Any]", state.data)
    return Night(3 if state.name == "CompletedPartial" else 0, record, "")


@contextlib.contextmanager
def _without_prefect(before_stage: BeforeStage) -> Iterator[None]:
    """Let the flow call its stages as functions, and leave out the artifacts, which only a server keeps."""
    from flows import artifacts, tasks

    def run_stage(stage: str, pipeline_path: str, time: str, limit: float | None, **options: Any) -> Any:
        return _run_stage(before_stage, runner.make_job(stage, pipeline_path, time, limit, options))

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(runner, "run_stage", run_stage))
        stack.enter_context(mock.patch.object(artifacts, "publish_artifacts", lambda *_: None))
        for stage in _STAGES:
            task: Any = getattr(tasks, f"{stage}_task")
            stack.enter_context(mock.patch.object(tasks, f"{stage}_task", _as_function(task.fn)))
        yield


def _run_stage(before_stage: BeforeStage, job: Job) -> Any:
    """Return the result of a stage as its process returns it."""

    def start(stage: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            before_stage(job["stage"])
            return stage(*arguments)

        return run

    stage = STAGES[job["stage"]]
    with mock.patch.dict(STAGES, {job["stage"]: start(stage)}):
        try:
            answer: dict[str, Any] = child._run(job)
        except Exception as error:
            raise runner.StageFailed(f"its process ended with status 1: {error}") from error
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            # A panic ends a stage process. Its last output is the error.
            raise runner.StageFailed(f"its process ended with status 1: {type(error).__name__}: {error}") from None
    if "error" in answer:
        raise runner.StageFailed(answer["error"])
    return answer["result"]


def _as_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a task's function with the option `return_state` that Prefect's tasks have."""

    def call(*arguments: Any, return_state: bool = False, **options: Any) -> Any:
        try:
            result = function(*arguments, **options)
        except Exception as error:
            if not return_state:
                raise
            return _Done(error, failed=True)
        return _Done(result, failed=False) if return_state else result

    return call


def use_exports(folder: Path | None) -> None:
    """Keep exported graphs in a folder, unless it is None."""
    if folder is not None:
        use_export_cache(_folder_cache(folder))


def _folder_cache(folder: Path) -> ExportCache:
    """Return a cache of exported graphs in a folder: each takes 20 s of CPU."""

    def cached(key: str, export: Callable[[], bytes]) -> bytes:
        path = folder / f"{key}.onnx"
        if not path.exists():
            content = export()
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return path.read_bytes()

    return cached
