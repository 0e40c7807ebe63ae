"""Stages in processes of their own: the result, or an error in one sentence."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from flows.deadline import Deadline, response_limit
from flows.settings.file import hold
from flows.stage_process import runner

pytestmark = pytest.mark.process


def test_the_result_of_a_stage_comes_back(pipeline: Path) -> None:
    report = runner.run_stage("ingest", str(pipeline), "2018-09-01T04:00:00+00:00", 60, within=30)
    assert report["failures"] == {}
    assert report["feeds"]["demand"]["added"] == 0


def test_the_error_of_a_stage_comes_back(pipeline: Path) -> None:
    # An ingest fails as a whole only if no feed can be used.
    for name in ("load", "temperature"):
        (pipeline.parent / f"{name}.parquet").write_bytes(b"")
    with pytest.raises(runner.StageFailed, match=r"feed 'demand': .*load\.parquet"):
        runner.run_stage("ingest", str(pipeline), "2018-09-01T04:00:00+00:00", 60, within=None)
    pipeline.write_text("nonsense")
    with pytest.raises(runner.StageFailed, match="is not valid TOML"):
        runner.run_stage("ingest", str(pipeline), "2018-09-01T04:00:00+00:00", 60, within=None)


def test_a_stage_uses_the_text_that_is_held(pipeline: Path) -> None:
    with hold(pipeline) as (settings, _):
        pipeline.write_text("nonsense")
        report = runner.run_stage("ingest", str(pipeline), "2018-09-01T04:00:00+00:00", 60, within=30)
        assert report["failures"] == {} and settings.name == "small"
    with pytest.raises(runner.StageFailed, match="is not valid TOML"):
        runner.run_stage("ingest", str(pipeline), "2018-09-01T04:00:00+00:00", 60, within=None)


def test_the_present_folder_holds_no_module_of_a_stage(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("flows", "storage", "model"):
        (tmp_path / "other" / name).mkdir(parents=True)
        (tmp_path / "other" / name / "__init__.py").write_text("raise SystemExit('of another project')")
    monkeypatch.chdir(tmp_path / "other")
    report = runner.run_stage("ingest", str(pipeline), "2018-09-01T04:00:00+00:00", 60, within=30)
    assert report["failures"] == {}


def test_a_stage_that_takes_too_long_is_stopped(pipeline: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(runner.StageFailed, match=r"stopped after 1 s, its time limit\. Raise forecast.deadline"):
        runner.run_stage("train", str(pipeline), "2018-09-01T04:00:00+00:00", 1)
    assert time.monotonic() - begun < 10
    with pytest.raises(runner.StageFailed, match="no time was left"):
        runner.run_stage("train", str(pipeline), "2018-09-01T04:00:00+00:00", -1)


def test_an_error_of_the_code_is_named_without_a_traceback(pipeline: Path) -> None:
    with pytest.raises(runner.StageFailed, match=r"^TypeError: .*no_such_option"):
        runner.run_stage("forecast", str(pipeline), "2018-09-01T04:00:00+00:00", 60, within=None, no_such_option=1)


def test_each_stage_leaves_time_for_the_next_ones() -> None:
    now = 0.0
    deadline = Deadline(timedelta(minutes=10), lambda: now)
    assert (deadline.for_ingest, deadline.for_training, deadline.for_forecast) == (240.0, 450.0, 540.0)
    now = 240.0
    assert deadline.for_training == 210.0
    now = 500.0
    assert deadline.for_ingest < 0 and deadline.for_training < 0
    assert deadline.for_forecast == 40.0
    now = 601.0
    assert deadline.remaining == -1.0
    assert response_limit(100) < 100
