"""Runs of the gatecast command, in this process or in one of its own, and checks of their output."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from flows import cli
from flows.settings.file import PipelineFileError, open_pipeline
from flows.stage_process import runner
from flows.stage_process.table import STAGES
from storage.redaction import redact
from storage.schemas import DataError


class Finished(NamedTuple):
    """The exit status and the output of a finished command."""

    returncode: int
    stdout: str
    stderr: str


def gatecast(*arguments: object, **environment: str) -> Finished:
    """Run the command in this process, which takes a tenth of the time that a process of its own takes."""
    root = logging.getLogger()
    handlers, before = root.handlers[:], dict(os.environ)
    assert logging.lastResort is not None
    # In a process of its own, the command logs warnings to standard error by the handler of last resort.
    root.handlers = [logging.lastResort]
    try:
        result = CliRunner().invoke(cli.main, [*map(str, arguments)], env=environment)
    finally:
        root.handlers = handlers
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
    errors = result.stderr
    if result.exc_info is not None and not isinstance(result.exception, SystemExit | None):
        errors += "".join(traceback.format_exception(*result.exc_info))
    return Finished(result.exit_code, result.stdout, errors)


def gatecast_process(*arguments: object, **environment: str) -> Finished:
    """Run the command in a process of its own: where its start, its imports or its environment are the subject."""
    done = subprocess.run(
        [sys.executable, "-m", "flows", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    return Finished(done.returncode, done.stdout, done.stderr)


def nightly(path: Path, server: dict[str, str], *arguments: str, **environment: str) -> Finished:
    """Run one night in this process, its stages too, on a standing Prefect server.

    The stages get no time limit here. Where a stage hangs, or is killed, `nightly_process` is needed.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY
    from prefect.settings.context import temporary_settings

    # Without heartbeats, an automation of the deployment marks a run of more than 90 s as crashed.
    settings = {PREFECT_API_URL: server["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 30}

    def run() -> Finished:
        with temporary_settings(settings), stages_in_this_process():
            return gatecast("nightly", path, *arguments, **environment)

    # Not in the main thread: the browser of other tests keeps an event loop running there.
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(run).result()


@contextmanager
def stages_in_this_process() -> Iterator[None]:
    """Let flows run their stages in this process, which saves the start of a process for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "run_stage", _run_stage)
        yield


def _run_stage(stage: str, pipeline_path: str, time: str, limit: float | None, **options: Any) -> Any:
    job = runner.make_job(stage, pipeline_path, time, limit, options)
    try:
        result = STAGES[stage](open_pipeline(pipeline_path, job["text"]), datetime.fromisoformat(time), job["options"])
    except (DataError, PipelineFileError, OSError) as error:
        raise runner.StageFailed(redact(str(error))) from error
    return json.loads(json.dumps(result, default=str))


def nightly_process(path: Path, prefect_home: Path, *arguments: str, **environment: str) -> Finished:
    """Run one night in a process of its own, on Prefect's embedded API or the one that `environment` names."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-m", "flows", "nightly", str(path), *arguments],
        capture_output=True, text=True, timeout=400, check=False,
        env={**clean, "PREFECT_HOME": str(prefect_home), **environment},
    )  # fmt: skip
    return Finished(done.returncode, done.stdout, done.stderr)


def json_report(done: Finished) -> dict[str, Any]:
    """Return the JSON object that a command printed."""
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def clear(done: Finished, status: int, *words: str) -> None:
    """Check that a command ended with `status` and one error that holds `words`, without a traceback."""
    assert done.returncode == status, (done.stdout, done.stderr)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in errors[0]


def block(folder: Path, *modules: str) -> Path:
    """Return a folder for PYTHONPATH in which importing any of `modules` fails."""
    place = folder / "blocked"
    place.mkdir()
    for module in modules:
        (place / f"{module}.py").write_text(f"raise ImportError('{module} must not be imported')")
    return place
