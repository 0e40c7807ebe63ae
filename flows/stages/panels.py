"""From history to panels: what the model is given to look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl

from flows.feed_settings import Feed
from flows.settings import Pipeline
from model.panel import Channel, Panel, channels
from storage import history
from storage.store import Store

_VALUE = "value"
_EVER = datetime(9999, 1, 1, tzinfo=UTC)


def micros(instant: datetime) -> int:
    """Microseconds since 1970-01-01 UTC."""
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond


def instant(micros: int) -> datetime:
    """The instant back, UTC."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)


def known_series(pipeline: Pipeline, store: Store, as_of: datetime) -> tuple[str, ...]:
    """Every series of which the target feeds had said anything at `as_of`, sorted."""
    feeds = pipeline.feeds("target")
    ids = {name for feed in feeds for name in history.series_ids(store, pipeline.name, feed.name, as_of)}
    return tuple(sorted(ids))


def newest_target(pipeline: Pipeline, store: Store, not_after: datetime) -> datetime | None:
    """When the newest target value of the history became known, None if there is none."""
    found = [
        history.newest_available(store, pipeline.name, feed.name, feed.values[0], not_after)
        for feed in pipeline.feeds("target")
    ]
    return max((time for time in found if time is not None), default=None)


def seen_panel(
    pipeline: Pipeline, store: Store, series: tuple[str, ...], as_of: datetime, first: int, columns: int
) -> Panel:
    """The as-of view of `as_of`, alone: what a forecast is made from."""
    return _panel(pipeline, store, series, as_of, first, columns, revised=False)


def revised_panel(
    pipeline: Pipeline, store: Store, series: tuple[str, ...], as_of: datetime, first: int, columns: int
) -> Panel:
    """Every revision up to `as_of`: what training windows, each with an as-of of its own, are made from."""
    return _panel(pipeline, store, series, as_of, first, columns, revised=True)


def seen_target(
    pipeline: Pipeline, store: Store, series: tuple[str, ...], as_of: datetime, first: int, columns: int
) -> np.ndarray:
    """(S, N) float32: the target alone of `seen_panel`, NaN where nothing was known."""
    feeds = pipeline.feeds("target")
    return _channel(pipeline, store, "target", feeds, _target, series, as_of, first, columns, False).layers[0].values


def actuals(pipeline: Pipeline, store: Store, since: datetime) -> pl.DataFrame:
    """What the periods from `since` on turned out to be, as far as the history knows by now.

    Returns:
        series_id, valid_time, actual: one row a series and period, none where there is no value (any more).
    """
    rows = _frame(pipeline, store, pipeline.feeds("target"), _target, _EVER, since, revised=False)
    known = pl.col(_VALUE).is_not_null() & pl.col(_VALUE).is_not_nan()
    return rows.filter(known).select(*history.KEY, actual=_VALUE)


def _target(feed: Feed) -> str:
    return feed.values[0]


def _panel(
    pipeline: Pipeline, store: Store, series: tuple[str, ...], as_of: datetime, first: int, columns: int,
    revised: bool,
) -> Panel:  # fmt: skip
    def channel(name: str, feeds: list[Feed], column: Callable[[Feed], str]) -> Channel:
        return _channel(pipeline, store, name, feeds, column, series, as_of, first, columns, revised)

    def covariates(role: str) -> tuple[Channel, ...]:
        def covariate(name: str) -> Channel:
            return channel(name, [feed for feed in pipeline.feeds(role) if name in feed.values], lambda _: name)

        return tuple(map(covariate, pipeline.covariates(role)))

    target = channel("target", pipeline.feeds("target"), _target)
    return Panel(pipeline.grid, series, first, target, covariates("known_future"), covariates("observed"))


def _channel(
    pipeline: Pipeline, store: Store, name: str, feeds: list[Feed], column: Callable[[Feed], str],
    series: tuple[str, ...], as_of: datetime, first: int, columns: int, revised: bool,
) -> Channel:  # fmt: skip
    grid = pipeline.grid
    since = instant(int(grid.start(np.array([first]))[0]))
    within = (min(series), max(series)) if series else None
    frame = _frame(pipeline, store, feeds, column, as_of, since, revised, within)
    (found,) = channels(grid, frame, [_VALUE], series, first, columns)
    return Channel(name, found.layers)


def _frame(
    pipeline: Pipeline, store: Store, feeds: list[Feed], column: Callable[[Feed], str], as_of: datetime,
    since: datetime, revised: bool, within: tuple[str, str] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """One value column of several feeds: series_id, valid_time, value; available_at too where `revised`."""
    read = history.revisions if revised or len(feeds) > 1 else history.as_of
    frames = [
        read(store, pipeline.name, feed.name, [column(feed)], as_of, since, within).rename({column(feed): _VALUE})
        for feed in feeds
    ]
    frame = pl.concat(frames)
    if frame["series_id"].null_count() and any(feed.series_id for feed in feeds):
        # Whether series share it is the feeds' to say, not that of the rows which happen to be read.
        frame = frame.filter(pl.col("series_id").is_not_null())
    if len(frames) > 1:
        # The feeds of one role are one table: what became known last counts, whichever feed said it.
        frame = frame.sort("available_at", nulls_last=False, maintain_order=True)
        if not revised:
            frame = frame.unique(history.KEY, keep="last", maintain_order=True).drop("available_at")
    return frame
