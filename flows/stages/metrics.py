"""Metrics of a nightly run in Prometheus' text format, for a collector that reads text files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from flows import clock
from flows.settings.pipeline import Pipeline
from flows.stages.panels import to_micros
from storage import forecasts
from storage import metrics as metrics_files
from storage.schemas import BASELINE, MODEL, STALE_MODEL
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import FeedReport, Measures, RunRecord, ScoreReport
from storage.store import Store, open_store

logger = logging.getLogger(__name__)

_DAYS_AHEAD = 31  # days searched for the next issue time whose forecast starts with a new period


def write_metrics(settings: Pipeline, store: Store, record: RunRecord, now: datetime) -> str:
    """Write the metrics of the nightly run that ends at `now`, and return their path.

    Args:
        settings: Settings of the pipeline.
        store: Store with the forecasts.
        record: Record of the run, whether it published a forecast or not.
        now: Present instant.
    """
    newest = attempt(lambda: forecasts.list_issue_times(store, settings.name)[-1:])
    if isinstance(newest, Failed):
        # All other metrics do not need the store, and a run with such an error must be reported.
        logger.warning("The metrics are written without the newest forecast, which cannot be read: %s.", newest.text)
        newest = []
    text = metrics_text(record, now, newest[0] if newest else None, next_due(settings, record["started_at"]))
    collector = settings.monitoring.metrics
    if collector is None:
        return metrics_files.write(store, settings.name, text)
    return metrics_files.write_to_collector(open_store(collector), settings.name, text)


def next_due(settings: Pipeline, started_at: str) -> datetime:
    """Return the deadline of the forecast that follows the run started at `started_at` (ISO 8601).

    An issue time whose first period an earlier forecast has, as on the weekend of a market, needs no forecast.
    """
    issue_at, timezone = settings.pipeline.issue_at, settings.pipeline.timezone
    last = clock.last_issue_time(issue_at, timezone, datetime.fromisoformat(started_at))
    day = last.astimezone(ZoneInfo(timezone)).date()
    following = (
        clock.issue_time_on(day + timedelta(days=ahead), issue_at, timezone) for ahead in range(1, _DAYS_AHEAD)
    )
    first = settings.grid.first_step(to_micros(last))
    issue_time = next(time for time in following if settings.grid.first_step(to_micros(time)) > first)
    return issue_time + settings.forecast.deadline


def metrics_text(record: RunRecord, now: datetime, newest_issue: datetime | None, due: datetime) -> str:
    """Return freshness, rows, skill and durations of one run, each labelled with the pipeline.

    Times are absolute. The age of the newest forecast is `time() - gatecast_issue_timestamp_seconds`, which continues
    to grow if no run writes metrics any more.

    Args:
        record: Record of the run.
        now: End of the run.
        newest_issue: Newest issue time with a forecast in the store, of whichever run.
        due: Deadline of the next forecast.
    """
    gauges = _Gauges(record["pipeline"])
    started = datetime.fromisoformat(record["started_at"])
    gauges.set("run_timestamp_seconds", "Start of the last run.", started.timestamp())
    gauges.set("run_seconds", "Duration of the last run with its report page.", (now - started).total_seconds())
    gauges.set("next_due_timestamp_seconds", "Deadline of the next forecast.", due.timestamp())
    gauges.set_each("stage_seconds", "Duration of each stage.", "stage", record["seconds"])
    gauges.set_each("stage_failed", "Stages and feeds that failed.", "stage", dict.fromkeys(record["failures"], 1))
    gauges.set("degraded", "1 if some rows are not the champion's.", float(record["degraded"]))
    gauges.set("alerts", "Number of alerts of the scores.", len(record["alerts"]))
    if newest_issue:
        gauges.set("issue_timestamp_seconds", "Issue time of the newest forecast.", newest_issue.timestamp())
    _set_forecast(gauges, record)
    _set_feeds(gauges, record)
    _set_scores(gauges, record["score"])
    return gauges.text()


class _Gauges:
    """Gauges of one pipeline."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._registry = CollectorRegistry()

    def set(self, name: str, description: str, value: float) -> None:
        """Set a gauge without further labels."""
        self._gauge(name, description, []).labels(self._pipeline).set(value)

    def set_each(self, name: str, description: str, label: str, values: Mapping[str, float]) -> None:
        """Set a gauge for each value of one further label."""
        gauge = self._gauge(name, description, [label])
        for key, value in values.items():
            gauge.labels(self._pipeline, key).set(value)

    def text(self) -> str:
        """Return all gauges in the text format."""
        return generate_latest(self._registry).decode()

    def _gauge(self, name: str, description: str, labels: list[str]) -> Gauge:
        return Gauge(f"gatecast_{name}", description, ["pipeline", *labels], registry=self._registry)


def _set_forecast(gauges: _Gauges, record: RunRecord) -> None:
    published, published_at = record["forecast"], record["published_at"]
    gauges.set("published", "1 if the last run published a forecast.", float(published is not None))
    if published is None or published_at is None:
        return
    time, deadline = _seconds(published_at), _seconds(record["deadline"])
    rows = dict.fromkeys((MODEL, STALE_MODEL, BASELINE), 0) | published["status"]
    gauges.set("published_timestamp_seconds", "Time of publication.", time)
    gauges.set("before_deadline_seconds", "Seconds from publication to deadline; negative after it.", deadline - time)
    gauges.set_each("forecast_rows", "Forecast rows by status.", "status", rows)
    gauges.set("inputs_complete", "1 if no input of the forecast was late or missing.", float(not record["late"]))
    gauges.set("forecast_series", "Number of series in the forecast.", published["series"])


def _set_feeds(gauges: _Gauges, record: RunRecord) -> None:
    feeds: Mapping[str, FeedReport] = record["ingest"]["feeds"] if record["ingest"] else {}
    read = {feed: report["read"] for feed, report in feeds.items()}
    added = {feed: report.get("added", 0) for feed, report in feeds.items()}
    refused = {feed: report["refused"] for feed, report in feeds.items()}
    newest = {feed: _seconds(report["last"]) for feed, report in feeds.items() if report["last"]}
    late = {feed: float(feed in record["late"]) for feed in feeds}
    gauges.set_each("feed_read_rows", "Rows read, by feed.", "feed", read)
    gauges.set_each("feed_added_rows", "Rows new in the history, by feed.", "feed", added)
    gauges.set_each("feed_refused_rows", "Rows refused and put in quarantine, by feed.", "feed", refused)
    gauges.set_each("feed_newest_timestamp_seconds", "Start of the newest period with a value.", "feed", newest)
    gauges.set_each("feed_late", "1 if the input was late or missing in the forecast.", "feed", late)


def _set_scores(gauges: _Gauges, score: ScoreReport | None) -> None:
    windows: dict[str, Measures] = {}
    if score and "last_7_nights" in score["summary"]:
        windows["7"] = score["summary"]["last_7_nights"]
    if score and "last_28_nights" in score["summary"]:
        windows["28"] = score["summary"]["last_28_nights"]
    skill = {nights: window["skill"] for nights, window in windows.items() if window["skill"] is not None}
    coverage = {
        nights: window["coverage_80"] for nights, window in windows.items() if window["coverage_80"] is not None
    }
    span = "over the newest scored issue times"
    gauges.set_each("skill", f"1 - pinball / pinball of the baseline, {span}.", "nights", skill)
    gauges.set_each("coverage_80", f"Share of the actuals within the 80% interval, {span}.", "nights", coverage)


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
