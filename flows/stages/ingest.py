"""Ingest stage: append the accepted rows of the feeds to the history, and the refused rows to the quarantine."""

from __future__ import annotations

import itertools
import logging
from datetime import datetime, timedelta
from functools import partial

import polars as pl

from flows import clock
from flows.settings.feed import Feed
from flows.settings.pipeline import Pipeline
from flows.stages.check_problems import other_series
from flows.stages.feed_checks import check_feed, check_feeds, feed_report, refusal_failure, with_findings
from flows.stages.history_grid import changed_grids, compare_older_rows, record_grid
from flows.stages.lateness import lateness
from flows.stages.panels import known_series
from flows.stages.progress import Progress, no_progress
from flows.stages.series_matching import log_matching
from model.checks.feed_findings import cut_finding, emptied_finding
from model.checks.feed_rows import CheckedRows
from storage import history, history_parts, quarantine
from storage.schemas import DataError
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import FeedReport, IngestReport
from storage.store import PartialStore, Store

logger = logging.getLogger(__name__)

_CUT = timedelta(days=1)  # A series that was not cut may begin later.
_FEWEST_KNOWN = 24  # With fewer values read again, a revision may change most of them.


def ingest(
    settings: Pipeline,
    store: Store,
    as_of: datetime,
    now: datetime,
    progress: Progress = no_progress,
    timeout: float | None = None,
    reread: bool = False,
) -> IngestReport:
    """Ingest the rows of every feed that were available at `as_of`.

    Feeds are read and checked before anything is written. A damaged history part is set aside, its paths are in the
    report, and the rows that the source still has are ingested again. A part that cannot be read now stays as it is:
    the ingest goes on without it. Both are a failure of the feed in the report, unless its source still had all rows
    of the damaged part. A feed that cannot be used is a failure too, and the other feeds are stored. So are the other
    rows of a feed of which most rows are refused. Each feed has a report or a failure, or both.

    Args:
        settings: Settings of the pipeline.
        store: Store that holds the history.
        as_of: Instant at which rows must have been available.
        now: Present instant, stored as `ingested_at`.
        progress: Callback for the progress.
        timeout: Seconds in which the sources must answer. A feed that does not answer is a failure in the report. None
            waits without a limit.
        reread: Whether a feed whose settings place its rows at other times than before is read again from its start.
            Its former history is kept aside. Otherwise such a feed fails.

    Raises:
        DataError: No timeout is given, and no feed can be used, or no id of a covariate belongs to any series.
    """
    changed: dict[str, DataError] = dict(changed_grids(settings, store))
    older = {feed.name: compare_older_rows(settings, store, feed) for feed in settings.feed}
    for name, (difference, _) in older.items():
        if difference and reread:
            changed.setdefault(name, DataError(difference))
        elif difference:
            logger.warning("%s.", difference)
    damaged: dict[str, list[str]] = {}
    unreadable: dict[str, history_parts.UnreadableHistory] = {}

    def set_aside(feed: Feed) -> None:
        paths = history_parts.set_aside(store_of(feed), settings.name, feed.name)
        damaged.setdefault(feed.name, []).extend(paths)

    def store_of(feed: Feed) -> Store:
        error = unreadable.get(feed.name)
        return store if error is None else PartialStore(store, error.parts)

    requested: dict[str, datetime] = {}

    def since(feed: Feed) -> datetime:
        requested[feed.name] = start = first_requested(feed)
        return start

    def first_requested(feed: Feed) -> datetime:
        if feed.name in changed:
            if not reread:
                raise changed[feed.name]
            return feed.start
        try:
            newest = newest_valid_time(feed)
        except history_parts.DamagedHistory:
            set_aside(feed)
            newest = None
        if newest is None or older[feed.name].lack_values:
            return feed.start
        if history_parts.damaged_parts(store, settings.name, feed.name):
            return feed.start  # a damaged part may be of any time
        # A wrong row of the far future must not exclude all earlier rows from the request.
        return max(feed.start, min(newest, as_of) - feed.overlap)

    def newest_valid_time(feed: Feed) -> datetime | None:
        try:
            return history.newest_valid_time(store_of(feed), settings.name, feed.name)
        except history_parts.UnreadableHistory as error:
            unreadable[feed.name] = error
            return history.newest_valid_time(store_of(feed), settings.name, feed.name)

    def series_in_history() -> frozenset[str]:
        if damaged:
            raise DataError(f"damaged parts were set aside: {', '.join(itertools.chain(*damaged.values()))}")
        return frozenset(known_series(settings, store, now))

    checked, failures, unmatched = check_feeds(settings, as_of, since, progress, now, timeout, series_in_history)
    # If ids do not match, those of the target may be the wrong ones. They must not begin series in the history.
    if timeout is None and (unmatched or (failures and not checked)):
        raise DataError("; ".join(failures.values()))
    reports: dict[str, FeedReport] = {}
    replaced: dict[str, list[str]] = {}
    issue_time = clock.last_issue_time(settings.pipeline.issue_at, settings.pipeline.timezone, as_of)

    def append(feed: Feed, rows: CheckedRows) -> history.Appended:
        keeps_emptied = feed.checks.emptied == "refuse"
        return history.append(store_of(feed), settings.name, feed.name, rows.accepted, now, keeps_emptied)

    def store_rows(feed: Feed) -> FeedReport:
        rows = checked[feed.name]
        if feed.name in changed:
            replaced[feed.name] = history_parts.set_all_aside(store, settings.name, feed.name)
        other = other_series(settings, store, feed, rows, now)
        if other is not None:
            logger.warning("%s", other)
        try:
            record_grid(settings, store, feed, feed.name in changed)
            appended = append(feed, rows)
        except history_parts.DamagedHistory:
            set_aside(feed)
            rows = check_feed(settings, feed, as_of, feed.start, now)
            appended = append(feed, rows)
        _warn_of_replaced(settings, feed, appended)
        cut = _cut_series(feed, appended, requested[feed.name])
        if cut is not None:
            rows = with_findings(rows, [cut_finding(cut, requested[feed.name])])
        if appended.emptied is not None and feed.checks.emptied != "accept":
            rows = with_findings(rows, [emptied_finding(appended.emptied)])
        quarantined = attempt(partial(quarantine.append, store, settings.name, feed.name, rows.refused, now))
        lost = f"feed {feed.name!r}: its refused rows could not be kept in quarantine: "
        problems = [
            str(unreadable[feed.name]) if feed.name in unreadable else None,
            _lost_rows(settings, store, feed, rows, as_of, now),
            _kept_values(feed, appended),
            refusal_failure(feed, rows),
            lost + quarantined.text if isinstance(quarantined, Failed) else None,
        ]
        if any(problems):
            failures[feed.name] = "; ".join(filter(None, problems))
        return {
            **feed_report(rows),
            "added": len(appended.rows),
            "unchanged": len(rows.accepted) - len(appended.rows),
            "damaged": damaged.get(feed.name, []),
            "replaced": replaced.get(feed.name, []),
            "late": lateness(settings, feed, rows, issue_time, as_of),
        }

    for feed in (feed for feed in settings.feed if feed.name in checked):
        report = attempt(partial(store_rows, feed))
        if not isinstance(report, Failed):
            reports[feed.name] = report
            continue
        failures[feed.name] = f"feed {feed.name!r}: its rows could not be stored: {report.text}"
        if not report.is_expected:
            logger.error("The rows of feed %r cannot be stored.", feed.name, exc_info=report.error)
    log_matching(reports)
    progress("ingest", 1.0)
    return {"feeds": reports, "failures": failures}


def _lost_rows(
    settings: Pipeline, store: Store, feed: Feed, rows: CheckedRows, as_of: datetime, now: datetime
) -> str | None:
    """Return which damaged parts the source could not replace, None if it had all rows of the damaged parts again."""
    damaged = history_parts.damaged_parts(store, settings.name, feed.name)
    if damaged and now - as_of > feed.overlap:
        # The next ingest reads the source from its start once more.
        return (
            f"feed {feed.name!r}: damaged parts of the history were set aside, and only rows until "
            f"{as_of:%Y-%m-%d} were read again. Run `gatecast ingest` without a time to read all"
        )
    lost = [store.uri(part) for part in damaged if not history_parts.is_restored(store, part, rows.accepted)]
    history_parts.mark_as_reread(store, damaged)
    if not lost:
        return None
    return (
        f"feed {feed.name!r}: damaged parts of the history were set aside, and the source does not have all of their "
        f"rows any more: {', '.join(lost)}. Restore them from a backup, under their names without '.damaged'"
    )


def _kept_values(feed: Feed, appended: history.Appended) -> str | None:
    """Return the failure of a feed most of whose values are empty now, None if they are not."""
    if not appended.kept:
        return None
    return (
        f"feed {feed.name!r}: {appended.kept:,} values, more than half of those that the history already had, are "
        "empty in the source now. The history keeps them. Correct the source; or if the values are withdrawn, set "
        'emptied = "warn" in [feed.checks]'
    )


def _cut_series(feed: Feed, appended: history.Appended, start: datetime) -> pl.DataFrame | None:
    """Return the series whose rows begin with `start`, the first time that was requested, None if there are none.

    Rows of a series may arrive after it was silent for longer than the overlap, and those before `start` are not read.
    """
    if appended.begun is None or start <= feed.start:
        return None
    cut = appended.begun.filter(pl.col("series_id").is_not_null() & pl.col("first").is_between(start, start + _CUT))
    return None if cut.is_empty() else cut


def _warn_of_replaced(settings: Pipeline, feed: Feed, appended: history.Appended) -> None:
    """Log a warning if an ingest replaced most values of a target that it read again.

    Revisions change a few values. A second pipeline file of the same name and store, or another unit, changes all.
    """
    if feed.role == "target" and appended.known >= _FEWEST_KNOWN and appended.replaced > appended.known / 2:
        logger.warning(
            "feed %r: %s of the %s values that the history already had were replaced by others. If another pipeline "
            "file uses pipeline.name = %r and this store, give it another name. Else check the unit and the uri of the "
            "feed.", feed.name, f"{appended.replaced:,}", f"{appended.known:,}", settings.name,
        )  # fmt: skip
