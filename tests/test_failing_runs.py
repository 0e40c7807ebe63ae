"""Whatever breaks in the night, the file is there by the deadline, and says what it is made of."""

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
from pathlib import Path

import polars as pl
import pytest

from tests.support.commands import Finished, nightly, nightly_process, said
from tests.support.pipelines import ISSUE

pytestmark = pytest.mark.prefect

NEXT = "2018-09-02"


@pytest.fixture
def night(prefect_server, pipeline):
    """Return a function that runs one night of a trained pipeline. No training is due unless its options say so."""

    def run(*arguments: str, **environment: str) -> Finished:
        settings = {"GATECAST_TRAINING__EVERY": "30d", **environment}
        return nightly(pipeline, prefect_server, *arguments, "--json", **settings)

    return run


@pytest.fixture
def night_process(prefect_server, pipeline):
    """Return a function that does the same in processes of their own."""

    def run(*arguments: str, **environment: str) -> Finished:
        settings = {"GATECAST_TRAINING__EVERY": "30d", **prefect_server, **environment}
        return nightly_process(pipeline, Path(prefect_server["PREFECT_HOME"]), *arguments, "--json", **settings)

    return run


def published(done) -> pl.DataFrame:
    assert done.returncode == 3, (done.returncode, done.stderr)
    rows = pl.read_parquet(said(done)["forecast"]["path"], hive_partitioning=False)
    assert len(rows) == 72
    degraded = rows.filter(pl.col("status") != "model")
    assert len(degraded) and degraded["reason"].null_count() == 0
    return rows


def test_a_night_without_trouble_is_whole(night_process, pipeline):
    done = night_process("--issue-time", ISSUE)
    assert done.returncode == 0, done.stderr
    report = said(done)
    assert report["failures"] == {} and report["train"] == {"trained": False}
    assert report["started_at"] < report["published_at"] < report["deadline"]
    store = pipeline.parent / "store"
    record = json.loads((store / "nights/small/20180901T040000Z.json").read_text())
    assert record["forecast"] == report["forecast"] and record["late"] == {}
    assert Path(report["page"]) == store / "reports/small.html"


def test_late_data_are_named_and_what_came_true_is_scored(night, pipeline):
    assert night("--issue-time", ISSUE).returncode == 0
    place = pipeline.parent / "load.parquet"
    rows = pl.read_parquet(place)
    rows.filter(pl.col("ds") < pl.datetime(2018, 9, 1, 14)).write_parquet(place)
    done = night("--issue-time", NEXT)
    assert done.returncode == 0, "a late feed is masked; the rows are the champion's"
    report = said(done)
    how = "the newest value is of 2018-09-01 13:00, values up to 2018-09-01 23:00 are due: 10 periods missing"
    assert report["late"] == {"demand": how}
    assert report["score"]["scored"] == 1 and report["score"]["rows"] == 3 * 14
    found = pl.read_parquet(pipeline.parent / "store/scores/small/20180901T040000Z.parquet")
    assert len(found) == 42


def test_what_the_scores_said_last_night_makes_a_retrain_due(night, pipeline):
    record = {"issue_time": "2018-09-08T04:00:00+00:00", "score": {"decay": "the skill fell from 0.8 to 0.1"}}
    place = pipeline.parent / "store/nights/small/20180908T040000Z.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(record))
    report = said(night("--issue-time", "2018-09-09", GATECAST_TRAINING__MAX_UPDATES="20"))
    assert report["train"]["due"] == "the skill fell from 0.8 to 0.1"


def test_a_source_that_hangs(night_process):
    """One feed accepts the connection and never answers: the other is taken in, and the night is on time."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}/load.csv"
        settings = {"GATECAST_FEED__DEMAND__URI": uri, "GATECAST_FORECAST__DEADLINE": "40s"}
        done = night_process("--issue-time", NEXT, **settings)
    rows = published(done)
    report = said(done)
    assert "no answer within" in report["failures"]["ingest:demand"]
    assert report["ingest"]["feeds"]["weather"]["read"] > 0
    assert rows["status"].unique().to_list() == ["stale_model"]
    assert rows["reason"].str.contains("feed 'demand': no answer within").all()
    assert report["published_at"] < report["deadline"]


def test_a_source_that_fails(night, pipeline):
    (pipeline.parent / "temperature.parquet").write_bytes(b"not parquet")
    rows = published(night("--issue-time", NEXT))
    assert rows["status"].unique().to_list() == ["stale_model"]
    assert rows["reason"].str.contains("temperature.parquet").all()


def test_a_training_that_fails(night, pipeline):
    """Training is due and cannot be done: the champion forecasts, and its rows say that it is stale."""
    done = night("--issue-time", NEXT, GATECAST_TRAINING__EVERY="1d", GATECAST_TRAINING__WINDOW="20d")
    rows = published(done)
    assert "too little history" in said(done)["failures"]["train"]
    assert rows["status"].unique().to_list() == ["stale_model"]
    assert rows["model_version"].null_count() == 0


def test_a_training_that_is_killed(prefect_server, pipeline):
    """As the kernel does to a process that takes too much memory."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "nightly", str(pipeline), "--issue-time", NEXT, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **prefect_server},
    )  # fmt: skip
    stop = threading.Event()
    killer = threading.Thread(target=_stop_when, args=(process.pid, "torch", signal.SIGKILL, stop))
    killer.start()
    out, errors = process.communicate(timeout=300)
    stop.set()
    killer.join()
    rows = published(subprocess.CompletedProcess([], process.returncode, out, errors))
    assert rows["status"].unique().to_list() == ["stale_model"]
    assert rows["reason"].str.contains("the retraining that was due failed: its process was killed .SIGKILL.").all()
    assert not [place for place in pipeline.parent.rglob("*") if place.name.startswith(".")]


def test_a_forecast_that_hangs(prefect_server, pipeline):
    """The process of the model's forecast is stopped as it begins: the baseline is there by the deadline."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    settings = {"GATECAST_TRAINING__EVERY": "30d", "GATECAST_FORECAST__DEADLINE": "40s"}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "nightly", str(pipeline), "--issue-time", NEXT, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **prefect_server, **settings},
    )  # fmt: skip
    stop = threading.Event()
    stopper = threading.Thread(target=_stop_when, args=(process.pid, "onnxruntime", signal.SIGSTOP, stop))
    stopper.start()
    out, errors = process.communicate(timeout=300)
    stop.set()
    stopper.join()
    done = subprocess.CompletedProcess([], process.returncode, out, errors)
    rows = published(done)
    assert rows["status"].unique().to_list() == ["baseline"]
    assert rows["reason"].str.contains("the model.s forecast failed: stopped after").all()
    assert said(done)["published_at"] < said(done)["deadline"]


def test_a_champion_that_is_corrupt(night, pipeline):
    (model,) = pipeline.parent.rglob("model.onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    rows = published(night("--issue-time", ISSUE, GATECAST_TRAINING__WINDOW="20d"))
    assert rows["status"].unique().to_list() == ["baseline"]
    assert rows["reason"].str.contains("sha256 differs").all()


def test_nothing_can_be_published(night, pipeline):
    shutil.rmtree(pipeline.parent / "store/forecasts", ignore_errors=True)
    done = night("--issue-time", "2001-01-01")
    assert done.returncode == 1
    assert "no target value was known" in done.stderr
    store = pipeline.parent / "store"
    assert not list(store.rglob("forecasts"))
    record = json.loads((store / "nights/small/20010101T050000Z.json").read_text())
    assert record["forecast"] is None and "no target value was known" in record["failures"]["forecast"]
    assert (store / "reports/small.html").exists()


def _stop_when(parent: int, library: str, sign: signal.Signals, done: threading.Event) -> None:
    """Send `sign` to the first child of `parent` that has loaded `library`."""
    while not done.is_set():
        for place in Path("/proc").glob("[0-9]*"):
            try:
                status = (place / "stat").read_text().rpartition(")")[2].split()
                # Not while it still is a copy of its parent.
                ours = int(status[1]) == parent and b"flows.stage_process" in (place / "cmdline").read_bytes()
                if ours and f"/{library}/" in (place / "maps").read_text():
                    os.kill(int(place.name), sign)
                    return
            except OSError:
                continue
        time.sleep(0.02)
