"""Reading and checking of the feeds, without writing anything."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from threading import Thread
from typing import NamedTuple

import numpy as np
import polars as pl

from flows.settings.feed import Feed
from flows.settings.pipeline import Pipeline
from flows.stages.panels import to_instant, to_micros
from flows.stages.progress import Progress, no_progress
from flows.stages.series_matching import match_feeds
from flows.stages.sources import FREE_KINDS, read_feed
from model.checks.feed_rows import CheckedRows, EmptyFeed, check_rows
from model.checks.findings import Finding
from model.checks.reasons import DUPLICATE, advice, first_text
from model.checks.repeated_keys import RepeatedKeysError, find_dimensions, remedy
from model.checks.units import check_conflict, check_expected_level, check_unit_ratio
from storage.schemas import FILE, ROW_PROBLEM, DataError
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import FeedReport

logger = logging.getLogger(__name__)

_MOST_REFUSED = 0.5  # If a larger share of the rows is refused, the feed has failed and not its rows.
_SAME_RUN = timedelta(hours=1)  # an as-of instant this recent is that of the present run


class CheckedFeeds(NamedTuple):
    """Result of reading and checking every feed.

    Attributes:
        checked: Checked rows by feed.
        failures: Errors by feed.
        unmatched: Feeds among the failures of which no row belongs to any series.
    """

    checked: dict[str, CheckedRows]
    failures: dict[str, str]
    unmatched: list[str]


def check_feeds(
    settings: Pipeline,
    as_of: datetime,
    since: Callable[[Feed], datetime],
    progress: Progress = no_progress,
    now: datetime | None = None,
    timeout: float | None = None,
    known_series: Callable[[], Set[str]] = frozenset,
    from_start: bool = False,
) -> CheckedFeeds:
    """Read and check every feed.

    Args:
        settings: Settings of the pipeline.
        as_of: Instant at which rows must have been available.
        since: Function that returns the first valid time to request from a feed.
        progress: Callback for the progress.
        now: Present instant, `as_of` by default.
        timeout: Seconds in which all feeds must answer. They are then read in parallel. None reads one after the other
            without a limit.
        known_series: Function that returns the series of the history.
        from_start: Whether a feed without rows since then is read again from its start.
    """
    checked: dict[str, CheckedRows] = {}
    failures: dict[str, str] = {}

    def read(feed: Feed) -> None:
        result = attempt(partial(_check_since, settings, feed, as_of, since, now, from_start))
        if not isinstance(result, Failed):
            checked[feed.name] = result
            return
        failures[feed.name] = result.text if result.is_data_error else f"feed {feed.name!r}: {result.text}"
        if not result.is_expected:
            logger.error("Feed %r cannot be read.", feed.name, exc_info=result.error)

    if timeout is None:
        for number, feed in enumerate(settings.feed):
            progress(f"ingest {feed.name}", number / len(settings.feed))
            read(feed)
        return _compare_feeds(settings, checked, failures, known_series)

    # The end of a thread pool would wait for a source that hangs. Daemon threads are left behind.
    threads = {feed.name: Thread(target=read, args=(feed,), daemon=True) for feed in settings.feed}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + timeout
    for name, thread in threads.items():
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            failures[name] = f"feed {name!r}: no answer within {timeout:.0f} s"
        elif name not in checked and name not in failures:
            failures[name] = f"feed {name!r}: its reading ended without a result"
    in_time = {name: checked[name] for name in threads if name in checked and name not in failures}
    return _compare_feeds(settings, in_time, failures, known_series)


def _check_since(
    settings: Pipeline, feed: Feed, as_of: datetime, since: Callable[[Feed], datetime], now: datetime | None,
    from_start: bool,
) -> CheckedRows:  # fmt: skip
    """Read and check one feed. Arguments are those of `check_feeds`."""
    try:
        return check_feed(settings, feed, as_of, since(feed), now)
    except EmptyFeed:
        if not from_start:
            raise
        return check_feed(settings, feed, as_of, feed.start, now)


def _compare_feeds(
    settings: Pipeline, checked: dict[str, CheckedRows], failures: dict[str, str], known_series: Callable[[], Set[str]]
) -> CheckedFeeds:
    matched = match_feeds(settings, _check_units(settings, checked), failures, known_series)
    return CheckedFeeds(matched.checked, failures, matched.unmatched)


def check_feed(
    settings: Pipeline, feed: Feed, as_of: datetime, since: datetime, now: datetime | None = None
) -> CheckedRows:
    """Read and check one feed.

    A source may not date its values, such as a weather forecast without an issue time. They then count as available at
    `as_of` if that is at most an hour ago, else at `now`. A later read must not claim what was known earlier.

    Args:
        settings: Settings of the pipeline.
        feed: The feed.
        as_of: Instant at which rows must have been available.
        since: First valid time to request.
        now: Present instant, `as_of` by default.
    """
    now = as_of if now is None else now
    requested_at = as_of if as_of <= now <= as_of + _SAME_RUN else now
    grid = settings.grid
    until = as_of
    new_from = since + feed.overlap
    if feed.role == "known_future":
        # The horizon of the last forecast that can be issued before the next ingest.
        end = grid.end(np.array([grid.first_step(to_micros(as_of)) + settings.pipeline.horizon]))
        until = to_instant(int(end[0])) + timedelta(days=1)
    if feed.resample:
        # An aggregate needs all parts of its period.
        since = to_instant(int(grid.start(grid.index(np.array([to_micros(since)])))[0]))
    bounds = settings.pipeline.bounds
    rows = read_feed(feed, since, until, requested_at)
    try:
        return check_rows(
            rows,
            feed.shape(),
            grid,
            (bounds.min, bounds.max),
            as_of,
            settings.pipeline.season,
            feed.actions(),
            new_from,
        )
    except EmptyFeed:
        if feed.source not in ("file", "s3"):
            raise
        raise EmptyFeed(f"feed {feed.name!r}: {feed.uri}: the table has no rows; check the uri of the feed") from None
    except RepeatedKeysError as error:
        raise DataError(f"{error}. {_repeats_remedy(feed, rows, since, until, requested_at)}") from None


def _repeats_remedy(feed: Feed, rows: pl.DataFrame, since: datetime, until: datetime, requested_at: datetime) -> str:
    """Return what to do about repeated keys, with the columns of the source that distinguish their rows."""
    table = rows
    if feed.source in FREE_KINDS:
        try:
            table = read_feed(feed, since, until, requested_at, all_columns=True)
        except DataError:
            pass  # the columns are only a hint, and the source may fail at its second request
    table = table.drop(FILE, ROW_PROBLEM, strict=False)
    text = remedy(find_dimensions(table, feed.shape()), table)
    if feed.series_id is None and not set("*?[").isdisjoint(feed.uri or ""):
        text += " If each file holds another series, give each file a feed of its own."
    return text


def refusal_failure(feed: Feed, checked: CheckedRows) -> str | None:
    """Return the failure of a feed of which more than half of the rows are refused, None if it has none.

    Rows that a later row of the feed repeats do not count, because files of one feed may overlap.
    """
    groups = [group for group in checked.reasons if group.kind != DUPLICATE]
    refused = sum(group.rows for group in groups)
    if refused <= _MOST_REFUSED * checked.read:
        return None
    first = groups[0]
    return (
        f"feed {feed.name!r}: {refused:,} of {checked.read:,} rows are refused, {first.rows:,} of them because "
        f"{first.kind}{first_text(first.example)}. {advice(first)}"
    ).rstrip()


def _check_units(settings: Pipeline, checked: dict[str, CheckedRows]) -> dict[str, CheckedRows]:
    """Return the checked rows with the findings about units: of the target by itself and beside its covariates."""
    result = dict(checked)
    for feed in (feed for feed in settings.feeds("target") if feed.name in checked):
        target = checked[feed.name]
        value, action = feed.values[0], feed.actions()["other_unit"]
        findings = list(check_expected_level(target.accepted, value, feed.expected, action))
        for other in (*settings.feeds("known_future"), *settings.feeds("observed")):
            for name in other.values if other.name in checked else ():
                findings += check_unit_ratio(target.accepted, value, checked[other.name].accepted, name, action)
        result[feed.name] = with_findings(target, findings)
    for feed, other, names in _feeds_with_equal_values(settings, checked):
        rows, others = checked[feed.name].accepted, checked[other.name].accepted
        findings = [one for own, theirs in names for one in check_conflict(rows, own, others, theirs, other.name)]
        result[feed.name] = with_findings(result[feed.name], findings)
    return result


def _feeds_with_equal_values(
    settings: Pipeline, checked: dict[str, CheckedRows]
) -> Iterator[tuple[Feed, Feed, list[tuple[str, str]]]]:
    """Yield pairs of feeds whose values stand for the same, with the pairs of their columns."""
    feeds = [feed for feed in settings.feed if feed.name in checked]
    for other, feed in itertools.combinations(feeds, 2):
        if other.role == feed.role == "target":
            yield feed, other, [(feed.values[0], other.values[0])]
        elif other.role == feed.role:
            yield feed, other, [(name, name) for name in feed.values if name in other.values]


def with_findings(checked: CheckedRows, findings: list[Finding]) -> CheckedRows:
    """Return the result of the checks with further findings."""
    return replace(checked, findings=(*checked.findings, *findings))


def feed_report(checked: CheckedRows) -> FeedReport:
    """Return the row counts and findings of one feed."""
    first, last = checked.accepted.select(
        first=pl.col("valid_time").min().dt.to_string("%Y-%m-%dT%H:%M:%SZ"),
        last=pl.col("valid_time").max().dt.to_string("%Y-%m-%dT%H:%M:%SZ"),
    ).row(0)
    report: FeedReport = {
        "read": checked.read,
        "accepted": len(checked.accepted) + checked.aggregated,
        "aggregated": checked.aggregated,
        "refused": len(checked.refused),
        "later": checked.later,
        "series": len(checked.series_ids),
        "first": first,
        "last": last,
        "reasons": {group.kind: group.rows for group in checked.reasons},
        "examples": {group.kind: group.example for group in checked.reasons if group.example},
        "findings": [
            {
                "check": finding.check, "action": finding.action, "series_id": finding.series_id,
                "rows": finding.rows, "first": finding.first.isoformat(), "last": finding.last.isoformat(),
                "detail": finding.detail,
            }
            for finding in checked.findings
        ],
    }  # fmt: skip
    if checked.matching is not None:
        report["matching"] = checked.matching
    return report
