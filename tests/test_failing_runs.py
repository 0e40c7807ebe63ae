"""Failures during a nightly run: a forecast is published by the deadline, with the reason of each degraded row."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.stage_process.table import STAGES
from tests.support.commands import Finished, json_report, nightly, nightly_process
from tests.support.pipelines import ISSUE

pytestmark = pytest.mark.prefect

NEXT_DAY = "2018-09-02"


@pytest.fixture
def run_nightly(prefect_server: dict[str, str], pipeline: Path) -> Callable[..., Finished]:
    """Return a function that runs one night of a trained pipeline. No training is due unless its options say so."""

    def run(*arguments: str, **environment: str) -> Finished:
        settings = {"GATECAST_TRAINING__EVERY": "30d", **environment}
        return nightly(pipeline, prefect_server, *arguments, "--json", **settings)

    return run


@pytest.fixture
def run_nightly_process(prefect_server: dict[str, str], pipeline: Path) -> Callable[..., Finished]:
    """Return a function that does the same in processes of their own."""

    def run(*arguments: str, **environment: str) -> Finished:
        settings = {"GATECAST_TRAINING__EVERY": "30d", **prefect_server, **environment}
        return nightly_process(pipeline, Path(prefect_server["PREFECT_HOME"]), *arguments, "--json", **settings)

    return run


def degraded_rows(done: Finished) -> pl.DataFrame:
    assert done.returncode == 3, (done.returncode, done.stderr)
    rows = pl.read_parquet(json_report(done)["forecast"]["path"], hive_partitioning=False)
    assert len(rows) == 72
    degraded = rows.filter(pl.col("status") != "model")
    assert len(degraded) and degraded["reason"].null_count() == 0
    return rows


def test_a_run_without_failures_is_complete(run_nightly_process: Callable[..., Finished], pipeline: Path) -> None:
    done = run_nightly_process("--issue-time", ISSUE)
    assert done.returncode == 0, done.stderr
    report = json_report(done)
    assert report["failures"] == {} and report["train"] == {"trained": False}
    assert report["started_at"] < report["published_at"] < report["deadline"]
    store = pipeline.parent / "store"
    record = json.loads((store / "nights/small/20180901T040000Z.json").read_text())
    assert record["forecast"] == report["forecast"] and record["late"] == {}
    assert Path(report["page"]) == store / "reports/small.html"


def test_late_feeds_are_reported_and_known_actuals_are_scored(
    run_nightly: Callable[..., Finished], pipeline: Path
) -> None:
    assert run_nightly("--issue-time", ISSUE).returncode == 0
    path = pipeline.parent / "load.parquet"
    rows = pl.read_parquet(path)
    rows.filter(pl.col("ds") < pl.datetime(2018, 9, 1, 14)).write_parquet(path)
    done = run_nightly("--issue-time", NEXT_DAY)
    assert done.returncode == 3, "a late feed is masked; the rows are the champion's, and say so"
    report = json_report(done)
    how = "demand: the newest period is 2018-09-01 13:00, 10 periods late by available_after = 0h, usually 0"
    assert report["late"] == {"demand": how}
    assert report["score"]["scored"] == 1 and report["score"]["rows"] == 3 * 14
    scores = pl.read_parquet(pipeline.parent / "store/scores/small/20180901T040000Z.parquet")
    assert len(scores) == 42


def test_decay_in_the_last_run_record_makes_a_retrain_due(run_nightly: Callable[..., Finished], pipeline: Path) -> None:
    record = {"issue_time": "2018-09-08T04:00:00+00:00", "score": {"decay": "the skill fell from 0.8 to 0.1"}}
    path = pipeline.parent / "store/nights/small/20180908T040000Z.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))
    report = json_report(run_nightly("--issue-time", "2018-09-09", GATECAST_TRAINING__MAX_UPDATES="20"))
    assert report["train"]["due"] == "the skill fell from 0.8 to 0.1"


def test_a_source_that_hangs(run_nightly_process: Callable[..., Finished]) -> None:
    """Ingest from one source that accepts the connection and never answers, and from one that answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}/load.csv"
        settings = {"GATECAST_FEED__DEMAND__URI": uri, "GATECAST_FORECAST__DEADLINE": "90s"}
        done = run_nightly_process("--issue-time", NEXT_DAY, **settings)
    rows = degraded_rows(done)
    report = json_report(done)
    assert "no answer within" in report["failures"]["ingest:demand"]
    assert report["ingest"]["feeds"]["weather"]["read"] > 0
    assert rows["status"].unique().to_list() == ["stale_model"]
    assert rows["reason"].str.contains("feed 'demand': no answer within").all()
    assert report["published_at"] < report["deadline"]


def test_a_source_that_fails(run_nightly: Callable[..., Finished], pipeline: Path) -> None:
    (pipeline.parent / "load.parquet").write_bytes(b"not parquet")
    rows = degraded_rows(run_nightly("--issue-time", NEXT_DAY))
    assert rows["status"].unique().to_list() == ["stale_model"]
    assert rows["reason"].str.contains("load.parquet").all()


def test_a_pipeline_file_that_is_edited_during_the_run(
    run_nightly: Callable[..., Finished], pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All stages of a run use the file as it was when the run began."""
    ingest = STAGES["ingest"]

    def edited(*arguments: Any) -> Mapping[str, Any]:
        report = ingest(*arguments)
        pipeline.write_text("[pipel")
        return report

    monkeypatch.setitem(STAGES, "ingest", edited)
    done = run_nightly("--issue-time", ISSUE)
    report = json_report(done)
    assert done.returncode == 0 and report["failures"] == {}, done.stderr
    assert report["forecast"]["status"] == {"model": 72} and report["score"] is not None


def test_a_source_that_fails_although_the_history_has_every_value(
    run_nightly: Callable[..., Finished], pipeline: Path
) -> None:
    (pipeline.parent / "temperature.parquet").write_bytes(b"not parquet")
    done = run_nightly("--issue-time", ISSUE)
    report = json_report(done)
    assert done.returncode == 3 and set(report["failures"]) == {"ingest:weather"}
    assert report["late"] == {} and report["forecast"]["status"] == {"model": 72}


def test_a_training_that_fails(run_nightly: Callable[..., Finished], pipeline: Path) -> None:
    """Run with a training that is due and fails, so that the champion's rows are stale."""
    done = run_nightly("--issue-time", NEXT_DAY, GATECAST_TRAINING__EVERY="1d", GATECAST_TRAINING__WINDOW="20d")
    rows = degraded_rows(done)
    assert "too little history" in json_report(done)["failures"]["train"]
    assert rows["status"].unique().to_list() == ["stale_model"]
    assert rows["model_version"].null_count() == 0


def test_a_training_that_is_killed(prefect_server: dict[str, str], pipeline: Path) -> None:
    """Kill the training as the kernel kills a process that uses too much memory."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "nightly", str(pipeline), "--issue-time", NEXT_DAY, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **prefect_server},
    )  # fmt: skip
    stop = threading.Event()
    killer = threading.Thread(target=_stop_when, args=(process.pid, "torch", signal.SIGKILL, stop))
    killer.start()
    out, errors = process.communicate(timeout=300)
    stop.set()
    killer.join()
    rows = degraded_rows(Finished(process.returncode, out, errors))
    assert rows["status"].unique().to_list() == ["stale_model"]
    assert rows["reason"].str.contains("the retraining that was due failed: its process was killed .SIGKILL.").all()
    assert not [path for path in pipeline.parent.rglob("*") if path.name.startswith(".")]


def test_a_forecast_that_hangs(prefect_server: dict[str, str], pipeline: Path) -> None:
    """Stop each process that loads the model: the decision about a training, then the forecast."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    settings = {"GATECAST_TRAINING__EVERY": "30d", "GATECAST_FORECAST__DEADLINE": "80s"}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "nightly", str(pipeline), "--issue-time", NEXT_DAY, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **prefect_server, **settings},
    )  # fmt: skip
    stop = threading.Event()
    stopper = threading.Thread(target=_stop_when, args=(process.pid, "onnxruntime", signal.SIGSTOP, stop, 2))
    stopper.start()
    out, errors = process.communicate(timeout=300)
    stop.set()
    stopper.join()
    done = Finished(process.returncode, out, errors)
    rows = degraded_rows(done)
    assert rows["status"].unique().to_list() == ["baseline"]
    assert rows["reason"].str.contains("the model.s forecast failed: stopped after").all()
    assert "stopped after" in json_report(done)["failures"]["training decision"]
    assert json_report(done)["published_at"] < json_report(done)["deadline"]


def test_a_champion_that_is_corrupt(run_nightly: Callable[..., Finished], pipeline: Path) -> None:
    (model,) = pipeline.parent.rglob("model.onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    rows = degraded_rows(run_nightly("--issue-time", ISSUE, GATECAST_TRAINING__WINDOW="20d"))
    assert rows["status"].unique().to_list() == ["baseline"]
    assert rows["reason"].str.contains("sha256 differs").all()


def test_a_run_that_cannot_publish_fails_and_leaves_a_record(
    run_nightly: Callable[..., Finished], pipeline: Path
) -> None:
    shutil.rmtree(pipeline.parent / "store/forecasts", ignore_errors=True)
    done = run_nightly("--issue-time", "2001-01-01")
    assert done.returncode == 1
    assert "no target value was known" in done.stderr
    store = pipeline.parent / "store"
    assert not list(store.rglob("forecasts"))
    record = json.loads((store / "nights/small/20010101T050000Z.json").read_text())
    assert record["forecast"] is None and "no target value was known" in record["failures"]["forecast"]
    assert (store / "reports/small.html").exists()


def _stop_when(parent: int, library: str, sign: signal.Signals, done: threading.Event, count: int = 1) -> None:
    """Send `sign` to the first `count` children of `parent` that load `library`."""
    stopped = set[str]()
    while not done.is_set() and len(stopped) < count:
        for path in Path("/proc").glob("[0-9]*"):
            try:
                status = (path / "stat").read_text().rpartition(")")[2].split()
                # Right after its start, the child is still a copy of its parent.
                ours = int(status[1]) == parent and b"flows.stage_process" in (path / "cmdline").read_bytes()
                if ours and path.name not in stopped and f"/{library}/" in (path / "maps").read_text():
                    os.kill(int(path.name), sign)
                    stopped.add(path.name)
            except OSError:
                continue
        time.sleep(0.02)
