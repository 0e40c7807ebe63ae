"""Panels of the history: the arrays that models and baseline read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.advisory_steps import AdvisorySteps
from flows.stages.history_grid import require_same_grid
from model.panel import Channel, Panel, RevisionLayer
from model.scatter import PanelLayout, scatter_channels
from storage import history, history_parts
from storage.store import PartialStore, Store

_TARGET = "target"
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)

#: Columns to read by feed, each with its name in the result.
Columns = dict[str, dict[str, str]]


def to_micros(instant: datetime) -> int:
    """Return microseconds since 1970-01-01 UTC."""
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond


def to_instant(micros: int) -> datetime:
    """Return the instant (UTC) of microseconds since 1970-01-01 UTC."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)


def known_series(settings: Pipeline, store: Store, as_of: datetime) -> tuple[str, ...]:
    """Return the ids of all series with a row in a target feed that was available at `as_of`, sorted."""
    feeds = settings.feeds("target")
    ids = {name for feed in feeds for name in history.read_series_ids(store, settings.name, feed.name, as_of)}
    return tuple(sorted(ids))


def count_target_values(settings: Pipeline, store: Store, as_of: datetime, since: datetime) -> pl.DataFrame:
    """Return series_id, values and first, see `history.count_values`, of the target feeds together."""
    counts = [
        history.count_values(store, settings.name, feed.name, feed.values[0], as_of, since)
        for feed in settings.feeds("target")
    ]
    return pl.concat(counts).group_by("series_id").agg(pl.col("values").sum(), pl.col("first").min())


def newest_target(settings: Pipeline, store: Store, not_after: datetime) -> datetime | None:
    """Return when the newest target value became available, at most `not_after`, None if there is no value.

    Parts of the history that cannot be used do not count.
    """
    times = []
    for feed in settings.feeds("target"):
        try:
            time = history.newest_available_at(store, settings.name, feed.name, feed.values[0], not_after)
        except history_parts.UnusableHistory as error:
            rest = PartialStore(store, error.parts)
            time = history.newest_available_at(rest, settings.name, feed.name, feed.values[0], not_after)
        times.append(time)
    return max((time for time in times if time is not None), default=None)


def visible_panel(
    settings: Pipeline, store: Store, series: tuple[str, ...], as_of: datetime, first: int, columns: int,
    steps: AdvisorySteps | None = None,
) -> Panel:  # fmt: skip
    """Return the as-of view of `as_of`, the input of a forecast.

    Args:
        settings: Settings of the pipeline.
        store: Store with the history.
        series: Series ids, sorted.
        as_of: Instant at which values must have been available.
        first: First step of the panel.
        columns: Number of steps.
        steps: Steps that may fail. A covariate whose history cannot be read is then missing, and its feeds have a
            failure under `history_step`. An unusable part is an error in any case, because a run goes on without it.
    """
    return _panel(settings, store, series, _Range(as_of, first, columns, revised=False), steps)


def history_step(feed: str) -> str:
    """Return the name of the step that reads the history of a covariate feed."""
    return f"history:{feed}"


def revision_panel(
    settings: Pipeline, store: Store, series: tuple[str, ...], as_of: datetime, first: int, columns: int
) -> Panel:
    """Return every revision up to `as_of`, the input of training windows, each of which has its own issue time.

    Arguments are those of `visible_panel`.
    """
    return _panel(settings, store, series, _Range(as_of, first, columns, revised=True))


def visible_target(
    settings: Pipeline, store: Store, series: tuple[str, ...], as_of: datetime, first: int, columns: int
) -> np.ndarray:
    """Return the target of `visible_panel`, float32, shape (S, N), NaN where no value is visible. Read-only."""
    (target,) = _channels(settings, store, _target_columns(settings), series, _Range(as_of, first, columns, False))
    return target.layers[0].values


def known_actuals(settings: Pipeline, store: Store, since: datetime) -> pl.DataFrame:
    """Return the latest known target values of all periods that start at `since` or later.

    Returns:
        Table of series_id, valid_time and actual, with one row for each series and period that has a value.
    """
    rows = _read_feeds(settings, store, _target_columns(settings), _END_OF_TIME, since, revised=False)
    is_known = pl.col(_TARGET).is_not_null() & pl.col(_TARGET).is_not_nan()
    return rows.filter(is_known).select(*history.KEY, actual=_TARGET)


def _target_columns(settings: Pipeline) -> Columns:
    return {feed.name: {feed.values[0]: _TARGET} for feed in settings.feeds("target")}


@dataclass(frozen=True)
class _Range:
    """Part of the history to read: `columns` steps from `first` on, as of `as_of`, with or without all revisions."""

    as_of: datetime
    first: int
    columns: int
    revised: bool


def _panel(
    settings: Pipeline, store: Store, series: tuple[str, ...], part: _Range, steps: AdvisorySteps | None = None
) -> Panel:
    def covariates(role: str) -> tuple[Channel, ...]:
        # Covariates of the same feeds are read together.
        names_by_feeds: dict[tuple[str, ...], dict[str, str]] = {}
        for name in settings.covariates(role):
            feeds = tuple(feed.name for feed in settings.feeds(role) if name in feed.values)
            names_by_feeds.setdefault(feeds, {})[name] = name
        by_name: dict[str, Channel] = {}
        for feeds, names in names_by_feeds.items():
            channels = partial(_channels, settings, store, dict.fromkeys(feeds, names), series, part)
            for read in _read_or_missing(channels, feeds, list(names), part.columns, steps):
                by_name[read.name] = read
        return tuple(by_name[name] for name in settings.covariates(role))

    (target,) = _channels(settings, store, _target_columns(settings), series, part)
    return Panel(settings.grid, series, part.first, target, covariates("known_future"), covariates("observed"))


def _read_or_missing(
    read: Callable[[], list[Channel]], feeds: tuple[str, ...], names: list[str], columns: int,
    steps: AdvisorySteps | None,
) -> list[Channel]:  # fmt: skip
    """Return the channels of some feeds, without any value if they cannot be read and `steps` are given."""
    if steps is None:
        return read()
    missing = RevisionLayer(np.full((1, columns), np.nan, np.float32), None)
    otherwise = [Channel(name, (missing,)) for name in names]
    channels = steps.run(history_step(feeds[0]), read, otherwise, (history_parts.UnusableHistory,))
    if history_step(feeds[0]) in steps.failures:
        steps.failures.update(dict.fromkeys(map(history_step, feeds), steps.failures[history_step(feeds[0])]))
    return channels


def _channels(
    settings: Pipeline, store: Store, columns: Columns, series: tuple[str, ...], part: _Range
) -> list[Channel]:
    grid = settings.grid
    since = to_instant(int(grid.start(np.array([part.first]))[0]))
    id_range = (min(series), max(series)) if series else None
    table = _read_feeds(settings, store, columns, part.as_of, since, part.revised, id_range)
    # The as-of view of one feed is sorted by series. Rows of several feeds are in no order.
    is_grouped = len(columns) == 1 and not part.revised
    names = list(next(iter(columns.values())).values())
    # The settings decide whether series share the values, not the rows that happen to be read.
    is_shared = all(feed.series_id is None and feed.role != "target" for feed in settings.feed if feed.name in columns)
    return scatter_channels(PanelLayout(grid, series, part.first, part.columns), table, names, is_grouped, is_shared)


def _read_feeds(
    settings: Pipeline, store: Store, columns: Columns, as_of: datetime, since: datetime, revised: bool,
    id_range: tuple[str, str] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Return several feeds as one table: series_id, valid_time, values, and available_at if `revised`."""
    require_same_grid(settings, store, [feed for feed in settings.feed if feed.name in columns])
    read = history.read_revisions if revised or len(columns) > 1 else history.read_as_of
    tables = [
        read(store, settings.name, feed, list(names), as_of, since, id_range).rename(names)
        for feed, names in columns.items()
    ]
    table = pl.concat(tables)
    if table["series_id"].null_count() and any(feed.series_id for feed in settings.feed if feed.name in columns):
        # The settings decide whether series share a covariate, not the rows that happen to be read.
        table = table.filter(pl.col("series_id").is_not_null())
    if len(tables) > 1:
        # Feeds of one role are one table, in which the value that became available last counts.
        table = table.sort("available_at", nulls_last=False, maintain_order=True)
        if not revised:
            table = table.unique(history.KEY, keep="last", maintain_order=True).drop("available_at")
    return table
