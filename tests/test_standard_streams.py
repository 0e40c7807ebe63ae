"""Commands whose caller closed the standard streams, or whose output goes to a full disk: the forecast is published."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from storage import forecasts
from tests.flows.test_sample_paths import make
from tests.support.report_store import ISSUE, ZONE

pytestmark = pytest.mark.process

FORECAST = "-m flows forecast made.toml --issue-time"


@pytest.mark.parametrize(
    ("streams", "has_warning"),
    [(">&-", False), (">&- 2>&-", False), ("<&- >&- 2>&-", False), ("> /dev/full", True), ("> /dev/full 2>&1", False)],
)
def test_a_forecast_is_published_whatever_becomes_of_the_output(
    streams: str, has_warning: bool, tmp_path: Path
) -> None:
    pipeline = make(tmp_path, 20)
    issue = ISSUE + timedelta(days=1)
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} {FORECAST} {issue.isoformat()} {streams}"], cwd=tmp_path, check=False,
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert forecasts.exists(pipeline.store, "made", str(ZONE), issue)
    assert "Traceback" not in done.stderr
    assert ("the output cannot be written: [Errno 28] No space left" in done.stderr) is has_warning


@pytest.mark.parametrize("threads", ["0", "-1", "many"])
def test_a_wrong_number_of_threads_is_ignored(threads: str, tmp_path: Path) -> None:
    pipeline, issue = make(tmp_path, 20), ISSUE + timedelta(days=1)
    done = subprocess.run(
        [sys.executable, *FORECAST.split(), issue.isoformat()],
        cwd=tmp_path, check=False, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "POLARS_MAX_THREADS": threads},
    )  # fmt: skip
    assert done.returncode == 3 and f"POLARS_MAX_THREADS = {threads!r} is ignored" in done.stderr, done.stderr
    assert forecasts.exists(pipeline.store, "made", str(ZONE), issue)


def test_a_reader_that_has_gone_is_no_failure(tmp_path: Path) -> None:
    make(tmp_path, 20)
    issue = ISSUE + timedelta(days=1)
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {FORECAST} {issue.isoformat()} | true; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path, check=False, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 3 and done.stderr == ""
