"""Ingest: feeds -> checked rows -> history; what is refused goes to quarantine with its reason."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Thread

import numpy as np
import polars as pl

from flows import clock
from flows.settings.feed import Feed
from flows.settings.pipeline import Pipeline
from flows.stages.lateness import lateness
from flows.stages.panels import to_instant, to_micros
from flows.stages.progress import Progress, no_progress
from flows.stages.sources import read_feed
from model.checks.feed_rows import CheckedRows, check_rows
from model.checks.findings import Finding
from model.checks.units import check_expected_level, check_unit_ratio
from storage import history, quarantine
from storage.schemas import DataError
from storage.schemas.records import FeedReport, IngestReport
from storage.store import Store

logger = logging.getLogger(__name__)
_SAME_NIGHT = timedelta(hours=1)


def ingest(
    settings: Pipeline,
    store: Store,
    as_of: datetime,
    now: datetime,
    progress: Progress = no_progress,
    within: float | None = None,
) -> IngestReport:
    """Take in what every feed says as of `as_of`.

    Args:
        now: when this happens; kept as `ingested_at`.
        within: seconds for the sources to answer; then, and where one fails, the other feeds are taken in all the
            same. None: every feed or none.

    Returns:
        `{"feeds": {name: counts}, "failures": {name: error}}`; for each feed read = accepted + refused + later and
        accepted = added + unchanged + aggregated (rows that went into one with others), and how many rows were
        refused for which reason. A damaged part of the history is set aside and named in `damaged`, and what the source
        still has of it is taken in again. `lateness` says how far the newest value is behind what was due.

    Raises:
        DataError: a feed cannot be used at all, and all were asked for. Feeds are read and checked before anything
            is written.
    """
    damaged: dict[str, list[str]] = {}

    def mend(feed: Feed) -> None:
        places = history.set_aside(store, settings.name, feed.name)
        damaged.setdefault(feed.name, []).extend(places)

    def since(feed: Feed) -> datetime:
        try:
            newest = history.newest_valid_time(store, settings.name, feed.name)
        except history.DamagedHistory:
            mend(feed)
            newest = None  # what is gone may be of any time
        # A row of the far future, come by mistake, must not keep all nearer ones from being asked for.
        return feed.start if newest is None else max(feed.start, min(newest, as_of) - feed.overlap)

    checked, failures = check_feeds(settings, as_of, since, progress, now, within)
    for error in failures.values() if within is None else ():
        raise DataError(error)
    report: dict[str, FeedReport] = {}
    issue = clock.last_issue_time(settings.pipeline.issue_at, settings.pipeline.timezone, as_of)
    for feed in (feed for feed in settings.feed if feed.name in checked):
        name, result = feed.name, checked[feed.name]
        try:
            added = history.append(store, settings.name, name, result.accepted, now)
        except history.DamagedHistory:
            mend(feed)
            result = check_feed(settings, feed, as_of, feed.start, now)
            added = history.append(store, settings.name, name, result.accepted, now)
        quarantine.append(store, settings.name, name, result.refused, now)
        report[name] = feed_report(result) | {
            "added": len(added),
            "unchanged": len(result.accepted) - len(added),
            "damaged": damaged.get(name, []),
            "late": lateness(settings, feed, result, issue, as_of),
        }
    progress("ingest", 1.0)
    return {"feeds": report, "failures": failures}


def check_feeds(
    settings: Pipeline,
    as_of: datetime,
    since: Callable[[Feed], datetime],
    progress: Progress = no_progress,
    now: datetime | None = None,
    within: float | None = None,
) -> tuple[dict[str, CheckedRows], dict[str, str]]:
    """Read every feed and sort out its rows; by name, and the errors of the feeds that cannot be used at all.

    Args:
        since: the oldest valid time worth asking a feed for.
        now: when this happens; `as_of` by default.
        within: seconds in which all must have answered, side by side; None: one after the other, however long.
    """
    checked: dict[str, CheckedRows] = {}
    failures: dict[str, str] = {}

    def take(feed: Feed) -> None:
        try:
            checked[feed.name] = check_feed(settings, feed, as_of, since(feed), now)
        except DataError as error:
            failures[feed.name] = str(error)

    if within is None:
        for number, feed in enumerate(settings.feed):
            progress(f"ingest {feed.name}", number / len(settings.feed))
            take(feed)
        return _units(settings, checked), failures

    def take_apart(feed: Feed) -> None:
        try:
            take(feed)
        except Exception as error:  # one feed's fault is not the others'
            logger.exception("feed %s", feed.name)
            failures[feed.name] = f"feed {feed.name!r}: {type(error).__name__}: {error}"

    # Not a pool, whose end would wait for a source that hangs.
    threads = {feed.name: Thread(target=take_apart, args=(feed,), daemon=True) for feed in settings.feed}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + within
    for name, thread in threads.items():
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            failures[name] = f"feed {name!r}: no answer within {within:.0f} s"
    answered = {name: checked[name] for name in threads if name in checked and name not in failures}
    return _units(settings, answered), failures


def _units(settings: Pipeline, checked: dict[str, CheckedRows]) -> dict[str, CheckedRows]:
    """The same, with what a target shows beside its covariates and what the pipeline file expects of it."""
    found = dict(checked)
    for feed in (feed for feed in settings.feeds("target") if feed.name in checked):
        of = checked[feed.name]
        action = feed.actions()["other_unit"]
        found[feed.name] = _more(of, check_expected_level(of.accepted, feed.values[0], feed.expected, action))
        for other in (*settings.feeds("known_future"), *settings.feeds("observed")):
            for name in other.values if other.name in checked else ():
                more = check_unit_ratio(of.accepted, feed.values[0], checked[other.name].accepted, name, action)
                found[feed.name] = _more(found[feed.name], more)
    return found


def _more(checked: CheckedRows, findings: list[Finding]) -> CheckedRows:
    return replace(checked, findings=(*checked.findings, *findings))


def check_feed(
    settings: Pipeline, feed: Feed, as_of: datetime, since: datetime, now: datetime | None = None
) -> CheckedRows:
    """Read one feed and sort out its rows.

    What a source says only now (a weather forecast without its issue) counts as known at `as_of` if that is at most
    an hour ago, as in the night of `as_of` itself, else `now`: a later look must not say what was known earlier.
    """
    now = as_of if now is None else now
    asked = as_of if as_of <= now <= as_of + _SAME_NIGHT else now
    at, grid = settings.pipeline, settings.grid
    until = as_of
    if feed.role == "known_future":
        # To the end of the last forecast that can be issued before the next ingest.
        end = grid.end(np.array([grid.first_step(to_micros(as_of)) + at.horizon]))
        until = to_instant(int(end[0])) + timedelta(days=1)
    if feed.resample:
        # Half of a period is none.
        since = to_instant(int(grid.start(grid.index(np.array([to_micros(since)])))[0]))
    return check_rows(
        read_feed(feed, since, until, asked),
        feed.shape(),
        grid,
        (at.bounds.min, at.bounds.max),
        as_of,
        at.season,
        feed.actions(),
    )


def feed_report(result: CheckedRows) -> FeedReport:
    """Counts of one read, JSON-ready."""
    reasons = result.refused["reason"].value_counts(sort=True)
    first, last = result.accepted.select(
        first=pl.col("valid_time").min().dt.to_string("%Y-%m-%dT%H:%M:%SZ"),
        last=pl.col("valid_time").max().dt.to_string("%Y-%m-%dT%H:%M:%SZ"),
    ).row(0)
    series = result.accepted["series_id"].drop_nulls()
    return {
        "read": result.read,
        "accepted": len(result.accepted) + result.aggregated,
        "aggregated": result.aggregated,
        "refused": len(result.refused),
        "later": result.later,
        "series": series.n_unique(),
        "first": first,
        "last": last,
        "reasons": dict(zip(reasons["reason"].to_list(), reasons["count"].to_list(), strict=True)),
        "findings": [
            {
                "check": finding.check, "action": finding.action, "series_id": finding.series_id,
                "rows": finding.rows, "first": finding.first.isoformat(), "last": finding.last.isoformat(),
                "detail": finding.detail,
            }
            for finding in result.findings
        ],
    }  # fmt: skip
