"""Metrics of a run, read by the parser of Prometheus."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from flows.settings import file as pipeline_file
from flows.stages.metrics import metrics_text, next_due, write_metrics
from storage.schemas.records import RunRecord
from storage.store import open_store
from tests.support.metrics import read
from tests.support.pipelines import write_pipeline
from tests.support.s3_server import S3Server

RULES = Path(__file__).parents[2] / "deployments" / "alerts.rules.yml"
# The keys of a record that the metrics use.
_RECORD: dict[str, object] = {
    "pipeline": "small", "started_at": "2018-09-01T04:20:00+00:00", "deadline": "2018-09-01T04:30:00+00:00",
    "published_at": "2018-09-01T04:25:00+00:00", "issue_time": "2018-09-01T04:00:00+00:00", "degraded": True,
    "seconds": {"ingest": 1.5, "forecast": 2.0}, "failures": {"ingest:weather": "gone"},
    "late": {"demand": "3 periods"},
    "alerts": [{"check": "skill"}],
    "ingest": {"feeds": {"demand": {"read": 9, "added": 4, "refused": 2, "last": "2018-09-01T03:00:00Z"}}},
    "forecast": {"series": 3, "status": {"model": 48, "baseline": 24}},
    "score": {
        "summary": {
            "last_7_nights": {"skill": 0.5, "coverage_80": 0.7}, "last_28_nights": {"skill": None, "coverage_80": 0.8},
        }
    },
}  # fmt: skip
RECORD = cast(RunRecord, _RECORD)
FAILED = cast(RunRecord, _RECORD | {
    "forecast": None, "published_at": None, "score": None, "ingest": None, "failures": {"forecast": "no value"},
})  # fmt: skip
NOW = datetime.fromisoformat("2018-09-01T04:26:00+00:00")
ISSUE = datetime.fromisoformat("2018-09-01T04:00:00+00:00")


def test_the_metrics_of_a_run() -> None:
    metrics = read(metrics_text(RECORD, NOW, ISSUE, ISSUE + timedelta(days=1)))
    assert metrics == {
        ("run_timestamp_seconds",): 1535775600.0, ("run_seconds",): 360.0,
        ("next_due_timestamp_seconds",): 1535860800.0,
        ("issue_timestamp_seconds",): 1535774400.0, ("published_timestamp_seconds",): 1535775900.0,
        ("before_deadline_seconds",): 300.0, ("published",): 1.0, ("degraded",): 1.0, ("alerts",): 1.0,
        ("stage_seconds", "ingest"): 1.5, ("stage_seconds", "forecast"): 2.0, ("stage_failed", "ingest:weather"): 1.0,
        ("forecast_rows", "model"): 48.0, ("forecast_rows", "stale_model"): 0.0, ("forecast_rows", "baseline"): 24.0,
        ("forecast_series",): 3.0, ("inputs_complete",): 0.0, ("feed_read_rows", "demand"): 9.0,
        ("feed_added_rows", "demand"): 4.0,
        ("feed_refused_rows", "demand"): 2.0, ("feed_newest_timestamp_seconds", "demand"): 1535770800.0,
        ("feed_late", "demand"): 1.0, ("skill", "7"): 0.5, ("coverage_80", "7"): 0.7, ("coverage_80", "28"): 0.8,
    }  # fmt: skip


def test_a_run_that_published_nothing_has_the_age_of_the_newest_forecast() -> None:
    metrics = read(metrics_text(FAILED, NOW, ISSUE, ISSUE))
    assert metrics["published",] == 0 and metrics["stage_failed", "forecast"] == 1
    assert metrics["issue_timestamp_seconds",] == ISSUE.timestamp()
    assert ("forecast_rows", "model") not in metrics
    assert ("issue_timestamp_seconds",) not in read(metrics_text(FAILED, NOW, None, ISSUE))


@pytest.mark.parametrize(
    ("frequency", "begun", "due"),
    [
        ("1h", "2018-09-01T00:20-04:00", "2018-09-02T00:10-04:00"),
        ("1h", "2018-11-03T00:20-04:00", "2018-11-04T00:10-04:00"),
        ("1h", "2018-11-04T00:20-04:00", "2018-11-05T00:10-05:00"),
        # The forecasts of Saturday, Sunday and Monday all start with Monday, so none is due before Tuesday.
        ("1b", "2018-09-08T00:40-04:00", "2018-09-11T00:10-04:00"),
        ("1b", "2018-09-11T00:40-04:00", "2018-09-12T00:10-04:00"),
    ],
)
def test_deadline_of_the_next_forecast(tmp_path: Path, frequency: str, begun: str, due: str) -> None:
    path = write_pipeline(tmp_path)
    settings = pipeline_file.read(path, {"GATECAST_PIPELINE__FREQUENCY": frequency})
    assert next_due(settings, begun) == datetime.fromisoformat(due)


def test_metrics_are_in_the_store_or_in_the_folder_of_the_collector(tmp_path: Path, s3: S3Server) -> None:
    path = write_pipeline(tmp_path)
    bucket = {"GATECAST_PIPELINE__STORE": "s3://market/store"}
    collected = {"GATECAST_MONITORING__METRICS": "collected"}
    places: list[tuple[dict[str, str], str]] = [
        ({}, str(tmp_path / "store/metrics/small.prom")),
        (bucket, "s3://market/store/metrics/small.prom"),
        (bucket | collected, str(tmp_path / "collected/gatecast-small.prom")),
    ]
    for environment, uri in places:
        settings = pipeline_file.read(path, environment)
        store = open_store(settings.pipeline.store)
        assert write_metrics(settings, store, FAILED, NOW) == uri
    assert read((tmp_path / "collected/gatecast-small.prom").read_text())["published",] == 0
    assert s3.client.get_object(Bucket="market", Key="store/metrics/small.prom")["Body"].read().startswith(b"# HELP")


def test_alert_rules_use_written_metrics_and_all_metrics_are_documented() -> None:
    written = {
        family.name for family in text_string_to_metric_families(metrics_text(RECORD, NOW, ISSUE, ISSUE))
    }  # fmt: skip
    failed = {family.name for family in text_string_to_metric_families(metrics_text(FAILED, NOW, ISSUE, ISSUE))}
    assert failed <= written
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names) >= 6
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"} and rule["labels"]["severity"]
        used = set(re.findall(r"gatecast_\w+", rule["expr"]))
        assert used and used <= written, rule["alert"]
        labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        of_the_metric = {name for s in _samples(used) for name in s.labels}
        assert labels <= of_the_metric, rule["alert"]
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    for what in [*written, *names]:
        assert f"`{what}`" in page, f"docs/observability.md does not describe {what}"


def _samples(names: set[str]) -> list[Sample]:
    families = text_string_to_metric_families(metrics_text(RECORD, NOW, ISSUE, ISSUE))
    return [sample for family in families for sample in family.samples if sample.name in names]
