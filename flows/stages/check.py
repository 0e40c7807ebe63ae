"""Check stage: read and check every feed, and write nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

from flows import clock
from flows.settings.pipeline import Pipeline
from flows.stages.feed_checks import check_feeds, feed_report, refusal_failure
from flows.stages.history_grid import changed_grids
from flows.stages.known_future import actuals_as_known_future
from flows.stages.lateness import lateness
from flows.stages.progress import Progress, no_progress
from storage.schemas.records import CheckReport, FeedReport
from storage.store import open_store

_READ_BACK = timedelta(days=60)  # span requested from a source that can select by time


def check(settings: Pipeline, now: datetime, progress: Progress = no_progress) -> CheckReport:
    """Return the report of an ingest at `now`, and how late each feed is for the next forecast."""
    issue_at, timezone = settings.pipeline.issue_at, settings.pipeline.timezone
    next_issue_time = clock.last_issue_time(issue_at, timezone, now + timedelta(days=1))
    # A feed whose data ended longer ago is read from its start, as an ingest would.
    checked, failures = check_feeds(
        settings, now, lambda feed: max(feed.start, now - _READ_BACK), progress, from_start=True
    )
    for name, error in changed_grids(settings, open_store(settings.pipeline.store)).items():
        failures.setdefault(name, str(error))
    for feed in (feed for feed in settings.feed if feed.name in checked):
        failure = refusal_failure(feed, checked[feed.name])
        if failure is not None:
            failures.setdefault(feed.name, failure)
    warnings = actuals_as_known_future(settings, checked)
    feeds: dict[str, FeedReport] = {
        feed.name: {
            **feed_report(checked[feed.name]),
            "late": lateness(settings, feed, checked[feed.name], next_issue_time, now),
        }
        for feed in settings.feed
        if feed.name in checked
    }
    return {"next_issue": next_issue_time.isoformat(), "feeds": feeds, "failures": failures, "warnings": warnings}
