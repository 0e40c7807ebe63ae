"""Check stage: read and check every feed, and write nothing that stays."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from flows import clock
from flows.settings.pipeline import Pipeline
from flows.stages.check_problems import other_frequency, other_series, short_history, unwritable_store
from flows.stages.feed_checks import check_feeds, feed_report, refusal_failure
from flows.stages.history_grid import changed_grids
from flows.stages.known_future import actuals_as_known_future
from flows.stages.lateness import lateness
from flows.stages.progress import Progress, no_progress
from model.checks.feed_rows import CheckedRows
from storage import history
from storage.schemas.records import CheckReport, FeedReport
from storage.store import Store, open_store

_READ_BACK = timedelta(days=60)  # span requested from a source that can select by time


def check(settings: Pipeline, now: datetime, progress: Progress = no_progress) -> CheckReport:
    """Return the report of an ingest at `now`, and how late each feed is for the next forecast."""
    issue_at, timezone = settings.pipeline.issue_at, settings.pipeline.timezone
    next_issue_time = clock.last_issue_time(issue_at, timezone, now + timedelta(days=1))
    last_issue_time = clock.last_issue_time(issue_at, timezone, now)
    # A feed whose data ended longer ago is read from its start, as an ingest would.
    since = {feed.name: max(feed.start, now - _READ_BACK) for feed in settings.feed}
    checked, failures, _ = check_feeds(settings, now, lambda feed: since[feed.name], progress, from_start=True)
    store = open_store(settings.pipeline.store)
    changed = changed_grids(settings, store)
    warnings = actuals_as_known_future(settings, checked)
    for feed in (feed for feed in settings.feed if feed.name in checked):
        rows = checked[feed.name]
        # A frequency that the rows do not have explains a changed grid, so it comes first.
        failure = other_frequency(settings, feed, rows) or (str(changed[feed.name]) if feed.name in changed else None)
        failure = failure or refusal_failure(feed, rows) or warnings.get(feed.name)
        failure = failure or other_series(settings, store, feed, rows, now)
        if failure is not None:
            failures.setdefault(feed.name, failure)
    for name, error in changed.items():
        failures.setdefault(name, str(error))
    if not failures:
        failures |= _pipeline_failures(settings, store, checked, since)
    unwritable = unwritable_store(store)
    if unwritable:
        failures["pipeline.store"] = unwritable
    feeds: dict[str, FeedReport] = {
        feed.name: {
            **feed_report(checked[feed.name]),
            "late": lateness(settings, feed, checked[feed.name], next_issue_time, last_issue_time),
        }
        for feed in settings.feed
        if feed.name in checked
    }
    return {"next_issue": next_issue_time.isoformat(), "feeds": feeds, "failures": failures, "warnings": warnings}


def _pipeline_failures(
    settings: Pipeline, store: Store, checked: Mapping[str, CheckedRows], since: Mapping[str, datetime]
) -> dict[str, str]:
    """Return the failure of a target that is too short, if it is."""
    starts = [history.read_valid_times(store, settings.name, feed.name) for feed in settings.feeds("target")]
    stored = min((times[0] for times in starts if len(times)), default=None)
    failure = short_history(settings, checked, since, stored)
    return {} if failure is None else {settings.feeds("target")[0].name: failure}
