"""From history to panels: what the model is given to look at."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from model.panel import Channel, Panel
from model.scatter import PanelLayout, scatter_channels
from storage import history
from storage.store import Store

_TARGET = "target"
_EVER = datetime(9999, 1, 1, tzinfo=UTC)

#: By feed: which columns are wanted, and what each is called from there on.
Wanted = dict[str, dict[str, str]]


def to_micros(instant: datetime) -> int:
    """Return microseconds since 1970-01-01 UTC."""
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond


def to_instant(micros: int) -> datetime:
    """Return the instant (UTC) of microseconds since 1970-01-01 UTC."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)


def known_series(settings: Pipeline, store: Store, as_of: datetime) -> tuple[str, ...]:
    """Every series of which the target feeds had said anything at `as_of`, sorted."""
    feeds = settings.feeds("target")
    ids = {name for feed in feeds for name in history.read_series_ids(store, settings.name, feed.name, as_of)}
    return tuple(sorted(ids))


def newest_target(settings: Pipeline, store: Store, not_after: datetime) -> datetime | None:
    """When the newest target value of the history became known, None if there is none."""
    found = [
        history.newest_available_at(store, settings.name, feed.name, feed.values[0], not_after)
        for feed in settings.feeds("target")
    ]
    return max((time for time in found if time is not None), default=None)


def visible_panel(
    settings: Pipeline, store: Store, series: tuple[str, ...], as_of: datetime, first: int, columns: int
) -> Panel:
    """The as-of view of `as_of`, alone: what a forecast is made from."""
    return _panel(settings, store, series, as_of, first, columns, revised=False)


def revision_panel(
    settings: Pipeline, store: Store, series: tuple[str, ...], as_of: datetime, first: int, columns: int
) -> Panel:
    """Every revision up to `as_of`: what training windows, each with an as-of of its own, are made from."""
    return _panel(settings, store, series, as_of, first, columns, revised=True)


def visible_target(
    settings: Pipeline, store: Store, series: tuple[str, ...], as_of: datetime, first: int, columns: int
) -> np.ndarray:
    """(S, N) float32: the target alone of `visible_panel`, NaN where nothing was known."""
    (target,) = _channels(settings, store, _target(settings), series, as_of, first, columns, False)
    return target.layers[0].values


def known_actuals(settings: Pipeline, store: Store, since: datetime) -> pl.DataFrame:
    """What the periods from `since` on turned out to be, as far as the history knows by now.

    Returns:
        series_id, valid_time, actual: one row a series and period, none where there is no value (any more).
    """
    rows = _frame(settings, store, _target(settings), _EVER, since, revised=False)
    known = pl.col(_TARGET).is_not_null() & pl.col(_TARGET).is_not_nan()
    return rows.filter(known).select(*history.KEY, actual=_TARGET)


def _target(settings: Pipeline) -> Wanted:
    return {feed.name: {feed.values[0]: _TARGET} for feed in settings.feeds("target")}


def _panel(
    settings: Pipeline, store: Store, series: tuple[str, ...], as_of: datetime, first: int, columns: int,
    revised: bool,
) -> Panel:  # fmt: skip
    def read(wanted: Wanted) -> list[Channel]:
        return _channels(settings, store, wanted, series, as_of, first, columns, revised)

    def covariates(role: str) -> tuple[Channel, ...]:
        # What the same feeds give is read together.
        together: dict[tuple[str, ...], dict[str, str]] = {}
        for name in settings.covariates(role):
            owners = tuple(feed.name for feed in settings.feeds(role) if name in feed.values)
            together.setdefault(owners, {})[name] = name
        found: dict[str, Channel] = {}
        for owners, names in together.items():
            found |= {channel.name: channel for channel in read(dict.fromkeys(owners, names))}
        return tuple(found[name] for name in settings.covariates(role))

    (target,) = read(_target(settings))
    return Panel(settings.grid, series, first, target, covariates("known_future"), covariates("observed"))


def _channels(
    settings: Pipeline, store: Store, wanted: Wanted, series: tuple[str, ...], as_of: datetime, first: int,
    columns: int, revised: bool,
) -> list[Channel]:  # fmt: skip
    grid = settings.grid
    since = to_instant(int(grid.start(np.array([first]))[0]))
    within = (min(series), max(series)) if series else None
    frame = _frame(settings, store, wanted, as_of, since, revised, within)
    # What one feed knew comes series by series; that of several is in no order.
    grouped = len(wanted) == 1 and not revised
    names = list(next(iter(wanted.values())).values())
    return scatter_channels(PanelLayout(grid, series, first, columns), frame, names, grouped)


def _frame(
    settings: Pipeline, store: Store, wanted: Wanted, as_of: datetime, since: datetime, revised: bool,
    within: tuple[str, str] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Columns of several feeds as one table: series_id, valid_time, values; available_at too where `revised`."""
    read = history.read_revisions if revised or len(wanted) > 1 else history.read_as_of
    frames = [
        read(store, settings.name, feed, list(names), as_of, since, within).rename(names)
        for feed, names in wanted.items()
    ]
    frame = pl.concat(frames)
    if frame["series_id"].null_count() and any(feed.series_id for feed in settings.feed if feed.name in wanted):
        # Whether series share it is the feeds' to say, not that of the rows which happen to be read.
        frame = frame.filter(pl.col("series_id").is_not_null())
    if len(frames) > 1:
        # The feeds of one role are one table: what became known last counts, whichever feed said it.
        frame = frame.sort("available_at", nulls_last=False, maintain_order=True)
        if not revised:
            frame = frame.unique(history.KEY, keep="last", maintain_order=True).drop("available_at")
    return frame
