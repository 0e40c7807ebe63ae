"""Whether the newest data of a feed are what an issue can hope for."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from flows.settings.feed import Feed
from flows.settings.pipeline import Pipeline
from flows.stages.panels import to_instant, to_micros
from model.checks.feed_rows import CheckedRows

#: Data that end so long ago are a replay of the past, not a feed that stopped.
REPLAY_AGE = timedelta(days=30)


def lateness(settings: Pipeline, feed: Feed, checked: CheckedRows, issue: datetime, now: datetime) -> str | None:
    """How far the newest value of a feed, read at `now`, is behind what is due for `issue`; None if it is not."""
    grid = settings.grid
    known = checked.accepted.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in feed.values))
    if known.is_empty():
        return "there is no value"
    newest = int(grid.index(known.select(pl.col("valid_time").max().dt.epoch("us")).to_series().to_numpy())[0])
    if feed.role == "known_future":
        wanted = grid.first_step(to_micros(issue)) + settings.pipeline.horizon - 1
    else:
        # The last period that has ended and whose value has had its time to come.
        wanted = int(grid.index(np.array([to_micros(now - feed.available_after)]))[0]) - 1
    if newest >= wanted:
        return None
    zone = ZoneInfo(settings.pipeline.timezone)
    last, due = (
        to_instant(int(grid.start(np.array([step]))[0])).astimezone(zone).strftime("%Y-%m-%d %H:%M")
        for step in (newest, wanted)
    )
    return f"the newest value is of {last}, that of {due} is due: {wanted - newest} periods"
