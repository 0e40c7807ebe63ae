"""`[forecast] on_failure`: the baseline, or no forecast at all; and the days of `[training] exclude`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from flows.cli.without_prefect import run_without_prefect
from flows.settings import file as pipeline_file
from flows.settings.file import OpenPipeline, PipelineFileError
from flows.settings.pipeline import Pipeline
from flows.stage_process.runner import StageFailed
from flows.stages.forecast import forecast
from flows.stages.loaded_models import load_models
from flows.stages.training_data import excluded_steps
from model.panel import Channel, Panel, RevisionLayer
from storage import forecasts, layout, registry
from storage.schemas import DataError
from tests.flows.test_sample_paths import make
from tests.support.report_store import ISSUE, ZONE, write_pipeline_file


def with_error(pipeline: OpenPipeline) -> Pipeline:
    section = pipeline.settings.forecast.model_copy(update={"on_failure": "error", "samples": 0})
    return pipeline.settings.model_copy(update={"forecast": section})


def test_without_a_model_nothing_is_published(tmp_path: Path) -> None:
    pipeline = make(tmp_path, 20)
    issue = ISSUE + timedelta(days=1)
    with pytest.raises(DataError, match=r'on_failure = "error" and no model could forecast 2 series, such as .A.: '):
        forecast(with_error(pipeline), pipeline.store, issue, needs_champion=False)
    assert not forecasts.exists(pipeline.store, "made", str(ZONE), issue)
    assert forecast(pipeline.settings, pipeline.store, issue, needs_champion=False)["status"] == {"baseline": 48}


def test_models_with_damaged_files_are_replaced_by_the_baseline_or_are_an_error(tmp_path: Path) -> None:
    pipeline = make(tmp_path, 20)
    for day in (3, 2):
        promoted = {"decision": {"promoted": True, "reason": "promoted"}}
        version = registry.add(pipeline.store, "made", ISSUE - timedelta(days=day), b"%d" % day, promoted)
        registry.promote(pipeline.store, "made", version)
        pipeline.store.put(layout.model("made", version), b"x")
    with pytest.raises(DataError, match=r'on_failure = "error".*sha256 differs'):
        forecast(with_error(pipeline), pipeline.store, ISSUE + timedelta(days=1))
    report = forecast(pipeline.settings, pipeline.store, ISSUE + timedelta(days=1))
    assert report["status"] == {"baseline": 48} and "sha256 differs" in report["reasons"][0]["reason"]


def test_a_refused_training_is_named_with_its_reason_and_the_day_of_the_next(tmp_path: Path) -> None:
    pipeline = make(tmp_path, 20)
    refused = {"decision": {"promoted": False, "reason": "refused: pinball 5 does not beat the baseline"}}
    registry.add(pipeline.store, "made", ISSUE, b"x", refused)

    def reason(later: timedelta) -> str:
        return str(load_models(pipeline.settings, pipeline.store, ISSUE + later)[1])

    assert reason(timedelta(0)) == (
        "there is no champion: the last training, as of 2026-10-26 00:00, was refused: pinball 5 does not beat the "
        "baseline; the next is due on 2026-10-27 00:00"
    )
    assert reason(timedelta(days=2)).endswith("the next is due since 2026-10-27 00:00")
    assert reason(-timedelta(days=1)) == "there is no champion", "of an earlier issue time it was not known"


def test_a_series_that_is_too_new_for_a_model_may_come_from_the_baseline(tmp_path: Path) -> None:
    pipeline = make(tmp_path, 3)
    Path(forecasts.uri(pipeline.store, "made", str(ZONE), ISSUE)).unlink()
    report = forecast(with_error(pipeline), pipeline.store, ISSUE, needs_champion=False)
    assert report["status"] == {"baseline": 48}


@pytest.mark.process
def test_without_prefect_the_key_has_the_same_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, 20)
    path, issue = tmp_path / "made.toml", ISSUE + timedelta(days=1)
    opened = pipeline_file.open_pipeline(path)
    monkeypatch.setenv("GATECAST_FORECAST__ON_FAILURE", "error")
    with pytest.raises(StageFailed, match='on_failure = "error" and no model could forecast'):
        run_without_prefect(path, pipeline_file.read(path), opened.store, issue.isoformat())
    assert not forecasts.exists(opened.store, "made", str(ZONE), issue)
    monkeypatch.delenv("GATECAST_FORECAST__ON_FAILURE")
    run = run_without_prefect(path, opened.settings, opened.store, issue.isoformat())
    assert run.forecast["status"] == {"baseline": 48}
    # Ingest ran: the feeds of this pipeline do not exist.
    assert set(run.failures) == {"ingest:demand", "ingest:weather"}
    assert all("none.parquet" in error for error in run.failures.values())


def test_excluded_days_are_local_and_include_both_ends(tmp_path: Path) -> None:
    path = write_pipeline_file(tmp_path)
    settings = pipeline_file.read(path, {"GATECAST_TRAINING__EXCLUDE": '["2026-03-29/2026-03-30"]'})
    first = int(settings.grid.index(np.array(["2026-03-28"], "datetime64[us]").astype(np.int64))[0])
    layer = RevisionLayer(np.zeros((1, 24 * 5), np.float32), None)
    panel = Panel(settings.grid, ("A",), first, Channel("target", (layer,)), (), ())
    steps = excluded_steps(settings, panel)
    assert steps is not None
    # Midnight in Berlin is 23:00 UTC before the change of clocks, and 22:00 after it: 23 and 24 hours.
    assert np.flatnonzero(steps).tolist() == list(range(23, 23 + 47))
    assert excluded_steps(pipeline_file.read(path, {}), panel) is None


@pytest.mark.parametrize("wrong", ['["2026-03-30/2026-03-29"]', '["2026-03"]', "[2026]", '["2026-13-01/2026-13-02"]'])
def test_wrong_days_are_named(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(PipelineFileError, match=r"training.exclude.*two days in their order.*2020-03-15/2020-06-30"):
        pipeline_file.read(write_pipeline_file(tmp_path), {"GATECAST_TRAINING__EXCLUDE": wrong})
