"""Lateness of a feed: its newest value beside the values that are due."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from flows.settings.feed import Feed
from flows.settings.pipeline import Pipeline
from flows.stages.late_inputs import periods_text
from flows.stages.panels import to_instant, to_micros
from model.checks.feed_rows import CheckedRows

#: Age from which the newest value means a replay of the past, and no longer a feed that has stopped.
REPLAY_AGE = timedelta(days=30)


def lateness(
    settings: Pipeline, feed: Feed, checked: CheckedRows, issue_time: datetime, last_issue_time: datetime
) -> str | None:
    """Return by how much the newest value of a feed is late, None if it is not late.

    A covariate known ahead must reach the horizon of the next forecast. Any other value must have been there for the
    last one: during the day, no feed that is delivered at night is complete.

    Args:
        settings: Settings of the pipeline.
        feed: The feed.
        checked: Its rows.
        issue_time: Issue time of the next forecast.
        last_issue_time: Last issue time that has passed.
    """
    grid = settings.grid
    has_value = pl.any_horizontal(pl.col(name).is_not_null() for name in feed.values)
    known = checked.accepted.filter(has_value)
    if known.is_empty():
        return "there is no value"
    newest = int(grid.index(known.select(pl.col("valid_time").max().dt.epoch("us")).to_series().to_numpy())[0])
    if feed.role == "known_future":
        due = grid.first_step(to_micros(issue_time)) + settings.pipeline.horizon - 1
    else:
        # The last period that ended at least `available_after` ago.
        due = int(grid.index(np.array([to_micros(last_issue_time - feed.available_after)]))[0]) - 1
    if newest >= due:
        return None
    zone = ZoneInfo(settings.pipeline.timezone)
    newest_start, due_start = (
        to_instant(int(grid.start(np.array([step]))[0])).astimezone(zone).strftime("%Y-%m-%d %H:%M")
        for step in (newest, due)
    )
    return (
        f"the newest value is of {newest_start}, values up to {due_start} are due: {periods_text(due - newest)} missing"
    )
