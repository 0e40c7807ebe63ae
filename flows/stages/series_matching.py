"""Comparison of the series of all feeds that one run read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Set
from dataclasses import replace
from typing import NamedTuple

from flows import summary
from flows.settings.feed import Feed
from flows.settings.pipeline import Pipeline
from model.checks.feed_rows import CheckedRows
from model.checks.series_matching import match_series, no_match_error, similar_ids
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import FeedReport, SeriesMatching

logger = logging.getLogger(__name__)


class Matched(NamedTuple):
    """Result of the comparison.

    Attributes:
        checked: Checked rows by feed, with how their ids match the series of the target.
        unmatched: Feeds of which no row belongs to any series.
    """

    checked: dict[str, CheckedRows]
    unmatched: list[str]


def match_feeds(
    settings: Pipeline,
    checked: dict[str, CheckedRows],
    failures: dict[str, str],
    known_series: Callable[[], Set[str]] = frozenset,
) -> Matched:
    """Compare the ids of all feeds with the series of the target.

    A covariate feed of which no row belongs to any series becomes a failure.

    Args:
        settings: Settings of the pipeline.
        checked: Checked rows by feed.
        failures: Errors by feed, to which those of this function are added.
        known_series: Function that returns the series of the history. A late target may have rows of few series.
    """
    result, unmatched = dict(checked), list[str]()
    targets = settings.feeds("target")
    if any(feed.name not in checked for feed in targets):
        return Matched(result, unmatched)
    ids_of_targets = {feed.name: checked[feed.name].series_ids for feed in targets}
    series: Set[str] = frozenset().union(*ids_of_targets.values())
    # A series of the history that is not in this read may go on under an id in other writing.
    known = attempt(known_series)
    missing = frozenset() if isinstance(known, Failed) else frozenset(known) - series
    for feed in targets:
        earlier = (ids for name, ids in ids_of_targets.items() if name < feed.name)
        others: Set[str] = missing.union(*earlier)
        pairs = similar_ids(ids_of_targets[feed.name] - others, others)
        if pairs:
            similar_only = _similar_only(len(ids_of_targets[feed.name]), len(series), pairs)
            result[feed.name] = replace(checked[feed.name], matching=similar_only)
    for feed in settings.feed:
        if feed.role == "target" or feed.series_id is None or feed.name not in checked or not series:
            continue
        ids = checked[feed.name].series_ids
        if not ids:
            continue
        if not ids & series and not _may_be_known(ids, known_series, feed):
            failures[feed.name] = f"feed {feed.name!r}: {no_match_error(ids, series)}"
            unmatched.append(feed.name)
            del result[feed.name]
            continue
        all_ids = _ids_of_covariates(settings, feed, checked)
        matching = match_series(ids, series if all_ids is None else all_ids, series)
        if matching is not None:
            result[feed.name] = replace(checked[feed.name], matching=matching)
    return Matched(result, unmatched)


def _may_be_known(ids: Set[str], known_series: Callable[[], Set[str]], feed: Feed) -> bool:
    """Return whether any id may be one of a series of the history."""
    known = attempt(known_series)
    if not isinstance(known, Failed):
        return not ids.isdisjoint(known)
    logger.warning("The series of feed %r cannot be compared with those of the history: %s.", feed.name, known.text)
    return True


def log_matching(reports: dict[str, FeedReport]) -> None:
    """Log how the ids of feeds do not match, as warnings."""
    for name, report in reports.items():
        for line in summary.matching_lines(report):
            logger.warning("%s: %s", name, line)


def _ids_of_covariates(settings: Pipeline, feed: Feed, checked: dict[str, CheckedRows]) -> Set[str] | None:
    """Return the ids of all feeds with a covariate of `feed`, None if one of them is not read or shared by all."""
    owners = [
        other for other in settings.feed if other.role == feed.role and not set(other.values).isdisjoint(feed.values)
    ]  # fmt: skip
    if any(other.series_id is None or other.name not in checked for other in owners):
        return None
    return frozenset().union(*(checked[other.name].series_ids for other in owners))


def _similar_only(ids: int, series: int, pairs: list[list[str]]) -> SeriesMatching:
    return {
        "ids": ids, "unmatched": 0, "unmatched_examples": [], "series": series, "uncovered": 0,
        "uncovered_examples": [], "similar": len(pairs), "similar_examples": pairs[:3],
    }  # fmt: skip
