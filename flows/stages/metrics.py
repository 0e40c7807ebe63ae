"""Metrics: the report of a night -> Prometheus' text format, for whoever collects text files."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from storage.schemas import BASELINE, MODEL, STALE_MODEL

_WINDOW = re.compile(r"last_(\d+)_nights")
_SCORES = {
    "skill": "1 - pinball / the baseline's pinball",
    "coverage_80": "Share of the actuals within the 80% interval",
}


def metrics(report: dict[str, Any]) -> str:
    """Freshness, rows, skill and durations of one night, each labelled with the pipeline.

    Times are given as such: the age of the newest forecast is `time() - gatecast_issue_timestamp_seconds`, which
    goes on growing when no night writes this file any more. A night that published nothing has no rows of it.

    Args:
        report: what the nightly flow returns and keeps.
    """
    registry = CollectorRegistry()

    def put(name: str, what: str, values: dict[str, float], label: str | None = None) -> None:
        labels = ["pipeline"] if label is None else ["pipeline", label]
        gauge = Gauge(f"gatecast_{name}", what, labels, registry=registry)
        for key, value in values.items():
            gauge.labels(*[report["pipeline"], key][: len(labels)]).set(value)

    put("run_timestamp_seconds", "When the last night began.", {"": _seconds(report["started_at"])})
    put("stage_seconds", "How long each stage took.", report["seconds"], "stage")
    put("stage_failed", "Stages and feeds that failed.", dict.fromkeys(report["failures"], 1), "stage")
    put("degraded", "1 if some rows are not the champion's.", {"": float(report["degraded"])})
    put("alerts", "What the scores complain about.", {"": len(report["alerts"])})
    published = report["forecast"]
    put("published", "1 if the last night published a forecast.", {"": float(published is not None)})
    if published:
        when, deadline = _seconds(report["published_at"]), _seconds(report["deadline"])
        rows = dict.fromkeys((MODEL, STALE_MODEL, BASELINE), 0) | published["status"]
        put("issue_timestamp_seconds", "Issue time of the newest forecast.", {"": _seconds(report["issue_time"])})
        put("published_timestamp_seconds", "When it was published.", {"": when})
        put("before_deadline_seconds", "How long before the deadline; negative after it.", {"": deadline - when})
        put("forecast_rows", "Rows by who made them.", rows, "status")
        put("forecast_series", "Series forecast.", {"": published["series"]})
    windows = _windows(report["score"])
    for name, what in _SCORES.items():
        known = {nights: scores[name] for nights, scores in windows.items() if scores[name] is not None}
        put(name, f"{what}, over the last so many nights that came true.", known, "nights")
    return generate_latest(registry).decode()


def _windows(score: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The score summary's `last_<n>_nights`, by n."""
    found = ((_WINDOW.fullmatch(name), value) for name, value in (score or {}).get("summary", {}).items())
    return {match[1]: value for match, value in found if match}


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
