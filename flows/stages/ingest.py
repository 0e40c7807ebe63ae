"""Ingest: feeds -> checked rows -> history; what is refused goes to quarantine with its reason."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from flows.pipeline_file import Feed, Pipeline
from flows.stages.progress import Progress, silent
from flows.stages.sources import read_feed
from model.feed_checks import Checked, check
from storage import history, quarantine
from storage.store import Store


def ingest(
    pipeline: Pipeline, store: Store, as_of: datetime, now: datetime, progress: Progress = silent
) -> dict[str, Any]:
    """Take in what every feed says as of `as_of`.

    Args:
        now: when this happens; kept as `ingested_at`.

    Returns:
        `{"feeds": {name: counts}}`; for each feed read = added + unchanged + refused + later, and how many
        rows were refused for which reason.

    Raises:
        DataError: a feed cannot be used at all. Feeds are read and checked before anything is written.
    """
    checked = {}
    for number, feed in enumerate(pipeline.feed):
        progress(f"ingest {feed.name}", number / len(pipeline.feed))
        checked[feed.name] = check_feed(pipeline, feed, as_of)
    report = {}
    for name, result in checked.items():
        added = history.append(store, pipeline.name, name, result.accepted, now)
        quarantine.keep(store, pipeline.name, name, result.refused, now)
        report[name] = summarise(result) | {
            "added": len(added),
            "unchanged": len(result.accepted) - len(added),
        }
    progress("ingest", 1.0)
    return {"feeds": report}


def check_feed(pipeline: Pipeline, feed: Feed, as_of: datetime) -> Checked:
    """Read one feed and sort out its rows."""
    bounds = pipeline.pipeline.bounds
    return check(read_feed(feed), feed.shape(), pipeline.grid, (bounds.min, bounds.max), as_of)


def summarise(result: Checked) -> dict[str, Any]:
    """Counts of one read, JSON-ready."""
    reasons = result.refused["reason"].value_counts(sort=True)
    first, last = result.accepted.select(
        first=pl.col("valid_time").min().dt.to_string("iso:strict"),
        last=pl.col("valid_time").max().dt.to_string("iso:strict"),
    ).row(0)
    series = result.accepted["series_id"].drop_nulls()
    return {
        "read": len(result.accepted) + len(result.refused) + result.later,
        "accepted": len(result.accepted),
        "refused": len(result.refused),
        "later": result.later,
        "series": series.n_unique(),
        "first": first,
        "last": last,
        "reasons": dict(zip(reasons["reason"].to_list(), reasons["count"].to_list(), strict=True)),
    }
