"""Metrics: the report of a night -> Prometheus' text format, for whoever collects text files."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from flows import clock
from flows.settings.pipeline import Pipeline
from flows.stages.panels import to_micros
from storage import forecasts
from storage import metrics as kept
from storage.schemas import BASELINE, MODEL, STALE_MODEL, DataError
from storage.store import Store, open_store

logger = logging.getLogger(__name__)

_WINDOW = re.compile(r"last_(\d+)_nights")
_SCORES = {
    "skill": "1 - pinball / the baseline's pinball",
    "coverage_80": "Share of the actuals within the 80% interval",
}
_DAYS = 31  # looked ahead for the next night that forecasts anything new


def write_metrics(settings: Pipeline, store: Store, report: Mapping[str, Any], now: datetime) -> str:
    """Write the metrics of a night that ends at `now`; returns their place.

    Args:
        report: what the nightly flow returns and keeps, of whatever became of it.
    """
    try:
        newest = forecasts.list_issue_times(store, settings.name)[-1:]
    except DataError as error:
        # What else there is to say does not need the store, and it is a night like this that must be heard of.
        logger.warning("the metrics go on without the newest forecast: %s", error)
        newest = []
    text = metrics(report, now, newest[0] if newest else None, next_due(settings, report["started_at"]))
    place = settings.monitoring.metrics
    return (
        kept.write(store, settings.name, text)
        if place is None
        else kept.write_to_collector(open_store(place), settings.name, text)
    )


def next_due(settings: Pipeline, started_at: str) -> datetime:
    """By when the forecast has to be there that follows the night begun at `started_at`.

    A night whose first period an earlier one has, as of a market's weekend, is none.
    """
    at, grid = settings.pipeline, settings.grid
    begun = datetime.fromisoformat(started_at)
    last = clock.last_issue_time(at.issue_at, at.timezone, begun)
    day = last.astimezone(ZoneInfo(at.timezone)).date()
    following = (
        clock.issue_time_on(day + timedelta(days=ahead), at.issue_at, at.timezone) for ahead in range(1, _DAYS)
    )
    first = grid.first_step(to_micros(last))
    issue = next(issue for issue in following if grid.first_step(to_micros(issue)) > first)
    return issue + settings.forecast.deadline


def metrics(report: Mapping[str, Any], now: datetime, newest_issue: datetime | None, due: datetime) -> str:
    """Freshness, rows, skill and durations of one night, each labelled with the pipeline.

    Times are given as such: the age of the newest forecast is `time() - gatecast_issue_timestamp_seconds`, which
    goes on growing when no night writes this any more.

    Args:
        newest_issue: of the forecasts in the store, whichever night published it.
        due: by when the next forecast has to be there.
    """
    registry = CollectorRegistry()

    def put(name: str, what: str, values: dict[str, float], label: str | None = None) -> None:
        labels = ["pipeline"] if label is None else ["pipeline", label]
        gauge = Gauge(f"gatecast_{name}", what, labels, registry=registry)
        for key, value in values.items():
            gauge.labels(*[report["pipeline"], key][: len(labels)]).set(value)

    begun = datetime.fromisoformat(report["started_at"])
    put("run_timestamp_seconds", "When the last night began.", {"": begun.timestamp()})
    put("run_seconds", "How long the last night took, page included.", {"": (now - begun).total_seconds()})
    put("next_due_timestamp_seconds", "By when the next forecast has to be there.", {"": due.timestamp()})
    put("stage_seconds", "How long each stage took.", report["seconds"], "stage")
    put("stage_failed", "Stages and feeds that failed.", dict.fromkeys(report["failures"], 1), "stage")
    put("degraded", "1 if some rows are not the champion's.", {"": float(report["degraded"])})
    put("alerts", "What the scores complain about.", {"": len(report["alerts"])})
    if newest_issue:
        what = "Issue time of the newest forecast that is there."
        put("issue_timestamp_seconds", what, {"": newest_issue.timestamp()})
    _put_forecast(report, put)
    _put_feeds(report, put)
    windows = _windows(report["score"])
    for name, what in _SCORES.items():
        known = {nights: scores[name] for nights, scores in windows.items() if scores[name] is not None}
        put(name, f"{what}, over the last so many nights that came true.", known, "nights")
    return generate_latest(registry).decode()


def _put_forecast(report: Mapping[str, Any], put: Any) -> None:
    published = report["forecast"]
    put("published", "1 if the last night published a forecast.", {"": float(published is not None)})
    if published:
        when, deadline = _seconds(report["published_at"]), _seconds(report["deadline"])
        rows = dict.fromkeys((MODEL, STALE_MODEL, BASELINE), 0) | published["status"]
        put("published_timestamp_seconds", "When it was published.", {"": when})
        put("before_deadline_seconds", "How long before the deadline; negative after it.", {"": deadline - when})
        put("forecast_rows", "Rows by who made them.", rows, "status")
        put("forecast_series", "Series forecast.", {"": published["series"]})


def _put_feeds(report: Mapping[str, Any], put: Any) -> None:
    feeds = report["ingest"]["feeds"] if report["ingest"] else {}
    for name, what in (("read", "read"), ("added", "new in the history"), ("refused", "refused, now in quarantine")):
        put(f"feed_{name}_rows", f"Rows {what}, by feed.", {feed: n[name] for feed, n in feeds.items()}, "feed")
    newest = {feed: _seconds(counts["last"]) for feed, counts in feeds.items() if counts["last"]}
    put("feed_newest_timestamp_seconds", "Start of the newest period that a feed has said.", newest, "feed")
    late = {feed: float(feed in report["late"]) for feed in feeds}
    put("feed_late", "1 if the newest value of a feed is older than what was due.", late, "feed")


def _windows(score: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The score summary's `last_<n>_nights`, by n."""
    found = ((_WINDOW.fullmatch(name), value) for name, value in (score or {}).get("summary", {}).items())
    return {match[1]: value for match, value in found if match}


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
