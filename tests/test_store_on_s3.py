"""A pipeline with its store in a bucket, from feeds to files, compared with the same pipeline on a disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.commands import gatecast, json_report, nightly
from tests.support.pipelines import ISSUE, write_pipeline
from tests.support.s3_server import BUCKET, S3Server

STORE = "forecasting/store"
FORECAST = "forecasts/pipeline=small/issue_date=2018-09-01/20180901T040000Z.parquet"


def in_bucket(path: Path) -> Path:
    """Change the store of a pipeline file to the bucket."""
    path.write_text(path.read_text().replace('"./store"', f'"s3://{BUCKET}/{STORE}"'))
    return path


def content(s3: S3Server, key: str) -> bytes:
    return bytes(s3.client.get_object(Bucket=BUCKET, Key=f"{STORE}/{key}")["Body"].read())


def test_the_stages_publish_the_same_bytes_as_on_a_disk(pipeline: Path, s3: S3Server) -> None:
    folder = pipeline.parent / "store"
    assert gatecast("forecast", pipeline, "--issue-time", ISSUE).returncode == 0
    history = json_report(gatecast("ingest", pipeline, "--as-of", ISSUE, "--json"))["feeds"]
    in_bucket(pipeline)
    for path in (folder / "models").rglob("*.*"):
        s3.client.upload_file(str(path), BUCKET, f"{STORE}/{path.relative_to(folder)}")

    ingested = gatecast("ingest", pipeline, "--as-of", ISSUE, "--json")
    assert ingested.returncode == 0, ingested.stderr
    added = {feed: counts["added"] for feed, counts in json_report(ingested)["feeds"].items()}
    assert added == {feed: counts["accepted"] for feed, counts in history.items()}
    again = json_report(gatecast("ingest", pipeline, "--as-of", ISSUE, "--json"))["feeds"]
    assert {n["added"] for n in again.values()} == {0}

    done = gatecast("forecast", pipeline, "--issue-time", ISSUE)
    assert done.returncode == 0, done.stderr
    assert f"s3://{BUCKET}/{STORE}/{FORECAST}" in done.stdout
    assert "2018-09-01 00:00 EDT" in done.stdout, "the published file is read back and printed"
    for key in (FORECAST, "latest/small.parquet"):
        assert content(s3, key) == (folder / key).read_bytes()

    listed = gatecast("models", pipeline, "--json")
    champion = json.loads((folder / "models/small/champion.json").read_bytes())
    assert json_report(listed)["champion"] == champion["version"]
    shown = gatecast("report", pipeline)
    assert shown.returncode == 0, shown.stderr
    assert f"Wrote s3://{BUCKET}/{STORE}/reports/small.html" in shown.stdout
    assert b"LDC1" in content(s3, "reports/small.html")
    assert not any(key.endswith(".tmp") for key in s3.objects())


def test_a_nightly_run_from_an_empty_bucket(tmp_path: Path, s3: S3Server, prefect_server: dict[str, str]) -> None:
    path = in_bucket(write_pipeline(tmp_path, max_updates=20))
    done = nightly(path, prefect_server, "--issue-time", ISSUE, "--json")
    assert done.returncode in (0, 3), done.stderr
    report = json_report(done)
    assert report["failures"] == {}
    assert report["forecast"]["path"] == f"s3://{BUCKET}/{STORE}/{FORECAST}"
    version = report["train"]["version"]
    keys = {key.removeprefix(f"{STORE}/") for key in s3.objects()}
    assert keys >= {
        FORECAST, "latest/small.parquet", "nights/small/20180901T040000Z.json", "reports/small.html",
        "reports/small/20180901T040000Z.html", "metrics/small.prom",
        f"models/small/{version}/model.onnx", f"models/small/{version}/manifest.json",
    }  # fmt: skip
    assert {key.rpartition("/")[0] for key in keys} >= {f"history/small/{feed}" for feed in ("demand", "weather")}
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("command", [["models"], ["forecast", "--issue-time", ISSUE], ["ingest"], ["report"]])
def test_an_unusable_store_is_an_error_of_one_line(tmp_path: Path, s3: S3Server, command: list[str]) -> None:
    path = in_bucket(write_pipeline(tmp_path))
    arguments = (command[0], path, *command[1:])
    with s3.refusing():
        refused = gatecast(*arguments)
    gone = gatecast(*arguments, GATECAST_PIPELINE__STORE=f"s3://no-{BUCKET}/x")
    silent = gatecast(*arguments, AWS_ENDPOINT_URL="http://127.0.0.1:1")
    for done, message in (
        (refused, f"s3://{BUCKET}/{STORE}: .*the store refuses: "),
        (gone, f"s3://no-{BUCKET}/x: .*there is no such bucket"),
        (silent, f"s3://{BUCKET}/{STORE}: .*127.0.0.1:1"),
    ):
        assert done.returncode == 1
        assert re.fullmatch(f"error: [^\n]*{message}[^\n]*\n", done.stderr), done.stderr
        assert "planted" not in done.stderr
