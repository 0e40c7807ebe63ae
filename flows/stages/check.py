"""Check: every feed read and judged, nothing written; and whether its newest data are late for the next issue."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from flows import clock
from flows.feed_settings import Feed
from flows.settings import Pipeline
from flows.stages.ingest import summarise, survey
from flows.stages.panels import instant, micros
from flows.stages.progress import Progress, silent
from model.feed_checks import Checked

_LITTLE = timedelta(days=60)  # of a source that can be asked for a part


def check(pipeline: Pipeline, now: datetime, progress: Progress = silent) -> dict[str, Any]:
    """What an ingest at `now` would find.

    Returns:
        `{"next_issue": ISO time, "feeds": {name: counts and "late"}, "failures": {name: error}}`; `late` is None
        for a feed that says all that the next issue can hope for by now.
    """
    at = pipeline.pipeline
    issue = clock.last_issue(at.issue_at, at.timezone, now + timedelta(days=1))
    checked, failures = survey(pipeline, now, lambda feed: max(feed.start, now - _LITTLE), progress)
    feeds = {
        feed.name: summarise(checked[feed.name]) | {"late": _late(pipeline, feed, checked[feed.name], issue, now)}
        for feed in pipeline.feed
        if feed.name in checked
    }
    return {"next_issue": issue.isoformat(), "feeds": feeds, "failures": failures}


def _late(pipeline: Pipeline, feed: Feed, checked: Checked, issue: datetime, now: datetime) -> str | None:
    grid = pipeline.grid
    known = checked.accepted.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in feed.values))
    if known.is_empty():
        return "there is no value"
    newest = int(grid.index(known.select(pl.col("valid_time").max().dt.epoch("us")).to_series().to_numpy())[0])
    if feed.role == "known_future":
        wanted = grid.first_step(micros(issue)) + pipeline.pipeline.horizon - 1
    else:
        # The last period that has ended and whose value has had its time to come.
        wanted = int(grid.index(np.array([micros(now - feed.available_after)]))[0]) - 1
    if newest >= wanted:
        return None
    zone = ZoneInfo(pipeline.pipeline.timezone)
    last, due = (
        instant(int(grid.start(np.array([step]))[0])).astimezone(zone).strftime("%Y-%m-%d %H:%M")
        for step in (newest, wanted)
    )
    return f"the newest value is of {last}, that of {due} is due: {wanted - newest} periods"
