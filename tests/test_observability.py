"""Traces of a run for operators: log lines, artifacts, metrics, and a message when it fails."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest

from tests.support.commands import Finished, json_report, nightly, nightly_process
from tests.support.metrics import read
from tests.support.pipelines import ISSUE, copy_of
from tests.support.prefect_api import every
from tests.support.s3_server import S3Server
from tests.support.web_server import PostReceiver

pytestmark = pytest.mark.prefect

# A finished run and its pipeline file.
Run = tuple[Finished, Path]

#: Runs after which an alert must have come. Prefect's queue in memory drops an event for which SQLite was locked three
#: times, as it may be while other tests use the server. `make serve` uses PostgreSQL.
RUNS = 3
JSON_LINES = {"PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json", "PREFECT_LOGGING_LEVEL": "INFO"}


@pytest.fixture(scope="module")
def complete(trained: Path, prefect_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A complete run with a refused row and a scored forecast: the process and its pipeline file."""
    path = copy_of(trained, tmp_path_factory.mktemp("complete") / "copy")
    _rename(path, "complete")
    first = nightly(path, prefect_server, "--issue-time", ISSUE, "--json", GATECAST_TRAINING__EVERY="30d")
    assert first.returncode == 0, first.stderr
    settings = {**prefect_server, **JSON_LINES}
    # Values above the bound are refused. The champion does not fit the new bound, so a model is trained.
    settings |= {"GATECAST_PIPELINE__BOUNDS__MAX": "1500"}
    settings |= {"GATECAST_MONITORING__REPORTS_URL": "https://pages.example.com/reports/"}
    home = Path(prefect_server["PREFECT_HOME"])
    return nightly_process(path, home, "--issue-time", "2018-09-02", "--json", **settings), path


@pytest.fixture(scope="module")
def failed(trained: Path, prefect_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that can publish nothing: the process and its pipeline file."""
    path = copy_of(trained, tmp_path_factory.mktemp("failed") / "copy")
    _rename(path, "doomed")
    home, settings = Path(prefect_server["PREFECT_HOME"]), {**prefect_server, **JSON_LINES}
    return nightly_process(path, home, "--issue-time", "2001-01-01", "--json", **settings), path


def _rename(path: Path, name: str) -> None:
    """Give a copied pipeline a name of its own, by which its artifacts are found on the server of all tests."""
    path.write_text(path.read_text().replace('"small"', f'"{name}"'))
    for part in ("history", "models"):
        folder = path.parent / "store" / part
        (folder / "small").rename(folder / name)


def lines(done: Finished) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]


def artifacts(url: str, pipeline: str) -> dict[str, dict[str, Any]]:
    newest_first = every(url, "artifacts", sort="UPDATED_DESC")
    return {
        a["key"].removeprefix(f"{pipeline}-"): a
        for a in reversed(newest_first)
        if (a["key"] or "").startswith(pipeline)
    }


def test_every_line_of_a_run_has_its_context(complete: Run) -> None:
    done, _ = complete
    ours = [line for line in lines(done) if line["logger"].split(".")[0] in ("flows", "model", "storage")]
    assert ours and {line["pipeline"] for line in ours} == {"complete"}
    assert {line["run"] for line in ours} == {next(line["run"] for line in ours)}
    of_stages = {line["stage"]: line for line in ours if "stage" in line}
    assert of_stages["score"]["issue_time"] == "2018-09-02T04:00:00+00:00"
    published = [line for line in ours if line["message"].startswith("Published: 3 series")]
    assert published[0]["logger"] == "flows.nightly"


def test_prefect_keeps_the_lines_of_a_stage_with_their_run(complete: Run, prefect_server: dict[str, str]) -> None:
    done, _ = complete
    run = next(line["run"] for line in lines(done) if line.get("stage") == "score")
    url = prefect_server["PREFECT_API_URL"]
    kept = every(url, "logs", logs={"flow_run_id": {"any_": [run]}})
    messages = [line["message"] for line in kept if line["name"].startswith("flows")]
    assert [message for message in messages if message.startswith("Stage score finished in ")]
    # Progress is for a terminal. In a log it would be hundreds of lines.
    assert not [message for message in messages if "%" in message]
    assert [message for message in messages if message.startswith("Published: 3 series")]


def test_the_artifacts_of_a_night(complete: Run, prefect_server: dict[str, str]) -> None:
    done, path = complete
    report = json_report(done)
    by_key = artifacts(prefect_server["PREFECT_API_URL"], "complete")
    assert by_key.keys() >= {"published", "forecast", "inputs", "page", "skill", "ingest", "quarantine"}
    published = by_key["published"]["data"]
    assert "Published: 3 series" in published
    assert "](https://pages.example.com/reports/complete.html)" in by_key["page"]["data"]
    assert "file://" not in json.dumps(by_key)
    picture = base64.b64decode(published.partition("data:image/svg+xml;base64,")[2].partition(")")[0])
    assert b"LDC3: median, q10 to q90" in picture and ElementTree.fromstring(picture).tag.endswith("svg")
    rows = json.loads(by_key["forecast"]["data"])
    published_rows = pl.read_parquet(path.parent / report["forecast"]["path"]).filter(pl.col("series_id") == "LDC3")
    own = [row["q50"] for row in rows if row["series"] == "LDC3"]
    assert own == pytest.approx(published_rows.sort("step")["q50"].to_list(), rel=1e-4)
    assert {row["feed"]: row["late"] for row in json.loads(by_key["inputs"]["data"])}.keys() == report["ingest"][
        "feeds"
    ].keys()
    (seven, _) = json.loads(by_key["skill"]["data"])
    assert seven["skill"] == report["score"]["summary"]["last_7_nights"]["skill"] is not None
    refused = json.loads(by_key["quarantine"]["data"])
    written = {name: feed["reasons"] for name, feed in report["ingest"]["feeds"].items()}
    assert written["demand"], "rows above the bound"
    assert len(refused) == sum(map(len, written.values()))
    assert all(written[row["feed"]][row["reason"]] == row["rows"] for row in refused)


def test_a_run_is_named_by_pipeline_and_issue_time(complete: Run, prefect_server: dict[str, str]) -> None:
    done, _ = complete
    run = next(line["run"] for line in lines(done) if line.get("stage") == "score")
    (kept,) = every(prefect_server["PREFECT_API_URL"], "flow_runs", flow_runs={"id": {"any_": [run]}})
    assert kept["name"] == "nightly complete 2018-09-02 00:00"


def test_the_metrics_of_a_night(complete: Run) -> None:
    done, path = complete
    report = json_report(done)
    metrics = read((path.parent / "store/metrics/complete.prom").read_text(), "complete")
    assert metrics["published",] == 1 and metrics["forecast_rows", "model"] == report["forecast"]["status"]["model"]
    assert metrics["skill", "7"] == pytest.approx(report["score"]["summary"]["last_7_nights"]["skill"])
    assert metrics["stage_seconds", "forecast"] == report["seconds"]["forecast"] > 0
    assert metrics["run_seconds",] < 300


def test_a_failed_run_leaves_artifacts_and_metrics(failed: Run, prefect_server: dict[str, str]) -> None:
    done, path = failed
    assert done.returncode == 1
    metrics = read((path.parent / "store/metrics/doomed.prom").read_text(), "doomed")
    assert metrics["published",] == 0 and metrics["stage_failed", "forecast"] == 1
    kept = artifacts(prefect_server["PREFECT_API_URL"], "doomed")
    assert "Nothing was published" in kept["published"]["data"]
    assert "no target value was known" in kept["published"]["data"]
    # Nobody can open a path of the worker's machine, so without reports_url there is no link.
    assert "page" not in kept and "reports/doomed.html" in kept["published"]["data"]
    errors = [line for line in lines(done) if line["level"] == "ERROR" and line.get("issue_time")]
    assert {line["pipeline"] for line in errors} == {"doomed"}


def test_metrics_are_written_when_the_store_is_gone(
    trained: Path, prefect_server: dict[str, str], tmp_path: Path, s3: S3Server
) -> None:
    """The store cannot be read or written, but the metrics in the collector's folder report it."""
    path = copy_of(trained, tmp_path / "copy")
    done = nightly(
        path, prefect_server, "--issue-time", ISSUE, "--json", GATECAST_PIPELINE__STORE="s3://no-market/store",
        GATECAST_MONITORING__METRICS=str(tmp_path / "collected"),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "no such bucket" in done.stderr
    metrics = read((tmp_path / "collected/gatecast-small.prom").read_text())
    assert (
        metrics["published",] == 0
        and metrics["stage_failed", "record"] == 1
        and ("issue_timestamp_seconds",) not in metrics
    )


@pytest.fixture
def webhook() -> Iterator[PostReceiver]:
    """The receiver of alerts."""
    receiver = PostReceiver(204)
    yield receiver
    receiver.stop()


def messages(webhook: PostReceiver, *words: str) -> list[tuple[str, dict[str, str]]]:
    """Return the alerts that hold all of these words, among those of other tests' runs."""
    return [post for post in webhook.posts if all(word in post[1]["text"] for word in words)]


def test_a_failed_or_degraded_run_is_reported_to_the_webhook(
    trained: Path, prefect_server: dict[str, str], webhook: PostReceiver, tmp_path: Path
) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment = {**clean, **prefect_server, "GATECAST_ALERT_WEBHOOK": f"{webhook.address}/hook/planted-s3cret"}
    made = subprocess.run(
        [sys.executable, "-m", "deployments.objects"], env=environment, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    path = copy_of(trained, tmp_path / "copy")
    (path.parent / "temperature.parquet").write_bytes(b"not parquet")
    for day, status, name, words in (
        ("2001-01-01", 1, "Failed", "no target value was known"),
        (ISSUE, 3, "CompletedPartial", "Failed: ingest of weather (feed 'weather'"),
    ):  # fmt: skip
        for _ in range(RUNS):
            done = nightly(path, prefect_server, "--issue-time", day, "--json", GATECAST_TRAINING__EVERY="30d")
            assert done.returncode == status, done.stderr
            end = time.monotonic() + 60
            while not messages(webhook, name, str(path)) and time.monotonic() < end:
                time.sleep(0.2)
            if messages(webhook, name, str(path)):
                break
        assert messages(webhook, name, str(path)), f"no notification of {name}: {webhook.posts}"
        where, message = messages(webhook, name, str(path))[0]
        assert where == "/hook/planted-s3cret"
        assert words in message["text"]
    # The address is a secret, because it allows anybody to post. The server must not return it.
    url = prefect_server["PREFECT_API_URL"]
    for what in ("block_documents", "automations", "logs", "flow_runs"):
        assert "planted-s3cret" not in json.dumps(every(url, what)), what
