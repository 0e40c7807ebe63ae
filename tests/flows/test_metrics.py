"""The metrics of a night, as Prometheus' own parser reads them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from flows.settings import file as pipeline_file
from flows.stages.metrics import metrics_text, next_due, write_metrics
from storage.store import open_store
from tests.support.metrics import read
from tests.support.pipelines import write_pipeline

RULES = Path(__file__).parents[2] / "deployments" / "alerts.rules.yml"
NIGHT = {
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
FAILED = NIGHT | {
    "forecast": None, "published_at": None, "score": None, "ingest": None, "failures": {"forecast": "no value"},
}  # fmt: skip
NOW = datetime.fromisoformat("2018-09-01T04:26:00+00:00")
ISSUE = datetime.fromisoformat("2018-09-01T04:00:00+00:00")


def test_a_night_in_numbers():
    found = read(metrics_text(NIGHT, NOW, ISSUE, ISSUE + timedelta(days=1)))
    assert found == {
        ("run_timestamp_seconds",): 1535775600.0, ("run_seconds",): 360.0,
        ("next_due_timestamp_seconds",): 1535860800.0,
        ("issue_timestamp_seconds",): 1535774400.0, ("published_timestamp_seconds",): 1535775900.0,
        ("before_deadline_seconds",): 300.0, ("published",): 1.0, ("degraded",): 1.0, ("alerts",): 1.0,
        ("stage_seconds", "ingest"): 1.5, ("stage_seconds", "forecast"): 2.0, ("stage_failed", "ingest:weather"): 1.0,
        ("forecast_rows", "model"): 48.0, ("forecast_rows", "stale_model"): 0.0, ("forecast_rows", "baseline"): 24.0,
        ("forecast_series",): 3.0, ("feed_read_rows", "demand"): 9.0, ("feed_added_rows", "demand"): 4.0,
        ("feed_refused_rows", "demand"): 2.0, ("feed_newest_timestamp_seconds", "demand"): 1535770800.0,
        ("feed_late", "demand"): 1.0, ("skill", "7"): 0.5, ("coverage_80", "7"): 0.7, ("coverage_80", "28"): 0.8,
    }  # fmt: skip


def test_a_night_that_published_nothing_still_says_how_old_the_newest_forecast_is():
    found = read(metrics_text(FAILED, NOW, ISSUE, ISSUE))
    assert found["published",] == 0 and found["stage_failed", "forecast"] == 1
    assert found["issue_timestamp_seconds",] == ISSUE.timestamp()
    assert ("forecast_rows", "model") not in found
    assert ("issue_timestamp_seconds",) not in read(metrics_text(FAILED, NOW, None, ISSUE))


@pytest.mark.parametrize(
    ("frequency", "begun", "due"),
    [
        ("1h", "2018-09-01T00:20-04:00", "2018-09-02T00:10-04:00"),
        ("1h", "2018-11-03T00:20-04:00", "2018-11-04T00:10-04:00"),
        ("1h", "2018-11-04T00:20-04:00", "2018-11-05T00:10-05:00"),
        # Saturday's night forecasts from Monday on, and so would Sunday's and Monday's.
        ("1b", "2018-09-08T00:40-04:00", "2018-09-11T00:10-04:00"),
        ("1b", "2018-09-11T00:40-04:00", "2018-09-12T00:10-04:00"),
    ],
)
def test_when_the_next_forecast_has_to_be_there(tmp_path, frequency, begun, due):
    path = write_pipeline(tmp_path)
    pipeline = pipeline_file.read(path, {"GATECAST_PIPELINE__FREQUENCY": frequency})
    assert next_due(pipeline, begun) == datetime.fromisoformat(due)


def test_they_lie_in_the_store_or_in_the_folder_that_is_stated(tmp_path, s3):
    path = write_pipeline(tmp_path)
    bucket = {"GATECAST_PIPELINE__STORE": "s3://market/store"}
    collected = {"GATECAST_MONITORING__METRICS": "collected"}
    for settings, place in (
        ({}, str(tmp_path / "store/metrics/small.prom")),
        (bucket, "s3://market/store/metrics/small.prom"),
        (bucket | collected, str(tmp_path / "collected/gatecast-small.prom")),
    ):
        pipeline = pipeline_file.read(path, settings)
        store = open_store(pipeline.pipeline.store)
        assert write_metrics(pipeline, store, FAILED, NOW) == place
    assert read((tmp_path / "collected/gatecast-small.prom").read_text())["published",] == 0
    assert s3.client.get_object(Bucket="market", Key="store/metrics/small.prom")["Body"].read().startswith(b"# HELP")


def test_the_rules_name_only_metrics_that_are_written_and_every_metric_is_documented():
    written = {
        family.name for family in text_string_to_metric_families(metrics_text(NIGHT, NOW, ISSUE, ISSUE))
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
        assert f"`{what}`" in page, f"docs/observability.md does not say what {what} is"


def _samples(names: set[str]):
    families = text_string_to_metric_families(metrics_text(NIGHT, NOW, ISSUE, ISSUE))
    return [sample for family in families for sample in family.samples if sample.name in names]
