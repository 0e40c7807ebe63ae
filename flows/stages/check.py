"""Check: every feed read and judged, nothing written; and whether its newest data are late for the next issue."""

from __future__ import annotations

from datetime import datetime, timedelta

from flows import clock
from flows.settings.pipeline import Pipeline
from flows.stages.ingest import check_feeds, feed_report
from flows.stages.lateness import lateness
from flows.stages.progress import Progress, no_progress
from storage.schemas.records import CheckReport

_LITTLE = timedelta(days=60)  # of a source that can be asked for a part


def check(settings: Pipeline, now: datetime, progress: Progress = no_progress) -> CheckReport:
    """What an ingest at `now` would find.

    Returns:
        `{"next_issue": ISO time, "feeds": {name: counts and "late"}, "failures": {name: error}}`; `lateness` is None
        for a feed that says all that the next issue can hope for by now.
    """
    at = settings.pipeline
    issue = clock.last_issue_time(at.issue_at, at.timezone, now + timedelta(days=1))
    checked, failures = check_feeds(settings, now, lambda feed: max(feed.start, now - _LITTLE), progress)
    feeds = {
        feed.name: feed_report(checked[feed.name]) | {"late": lateness(settings, feed, checked[feed.name], issue, now)}
        for feed in settings.feed
        if feed.name in checked
    }
    return {"next_issue": issue.isoformat(), "feeds": feeds, "failures": failures}
