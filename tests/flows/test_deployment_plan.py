"""Deployments of a pipeline: times that follow issue_at and that no clock change skips or repeats."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.installation import ROOT
from flows.deployment_plan import nightly_cron, plan
from flows.settings import file as pipeline_file
from flows.settings.pipeline import Pipeline

LOAD = pipeline_file.read(ROOT / "deployments" / "load.toml", {})


def at(issue_at: time, frequency: str = "1h") -> Pipeline:
    section = LOAD.pipeline.model_copy(update={"issue_at": issue_at, "frequency": frequency})
    return LOAD.model_copy(update={"pipeline": section})


@given(st.times(), st.timedeltas(timedelta(0), timedelta(hours=23)))
def test_no_start_is_between_one_and_three(issue_at: time, delay: timedelta) -> None:
    minute, hour, *_ = map(int, nightly_cron(at(issue_at), delay).replace("*", "0").split())
    assert not 1 <= hour < 3 and 0 <= minute < 60


@pytest.mark.parametrize(
    "issue_at, frequency, cron",
    [
        (time(0), "1h", "20 0 * * *"),
        (time(23, 50), "1h", "10 0 * * *"),
        (time(1, 30), "1h", "5 3 * * *"),
        (time(0), "1b", "20 0 * * 2-6"),
        (time(18), "1b", "20 18 * * 1-5"),
    ],
)
def test_the_nightly_run_starts_after_the_issue_time(issue_at: time, frequency: str, cron: str) -> None:
    assert nightly_cron(at(issue_at, frequency), timedelta(minutes=20)) == cron


def test_names_say_what_is_done() -> None:
    assert [one.name for one in plan(LOAD)] == [
        "load-publish-forecast", "load-retrain-model", "load-ingest-feeds", "load-backfill-forecasts",
        "load-write-page",
    ]  # fmt: skip
    assert all(Path(ROOT / "flows" / f"{one.flow}.py").is_file() for one in plan(LOAD))
