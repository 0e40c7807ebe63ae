"""What a training may see: the history at its hour, in parts for fitting, for the early stop and for being judged."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np

from flows.settings.pipeline import Pipeline
from flows.stages.panels import known_series, revision_panel, to_instant, to_micros
from model.evaluation.comparison import IssueTimes
from model.evaluation.promotion import MIN_ISSUE_TIMES
from model.panel import Channel, Panel, RevisionLayer
from model.timegrid import TimeGrid, day_starts, local_naive
from storage.schemas import DataError
from storage.store import Store


def read_training_panel(settings: Pipeline, store: Store, as_of: datetime) -> tuple[Panel, int]:
    """All revisions within the training window, and the first step that a forecast at `as_of` would have."""
    series = known_series(settings, store, as_of)
    if not series:
        raise DataError(
            f"pipeline {settings.name!r}: no target value was known at {as_of.isoformat()}; run `gatecast ingest`"
        )
    grid = settings.grid
    first = grid.first_step(to_micros(as_of))
    window = settings.training.window
    begin = as_of - window if window else to_instant(0)
    start = int(grid.index(np.array([to_micros(begin)]))[0])
    panel = revision_panel(settings, store, series, as_of, start, first - start)
    seen = ~np.isnan(panel.target.layers[0].values).all(axis=0)
    if not seen.any():
        raise DataError(f"pipeline {settings.name!r}: the training window holds no target value")
    # Steps before the first value teach nothing; for a window of "all" there are many.
    skip = int(seen.argmax())
    return _crop(panel, skip), first


def _crop(panel: Panel, skip: int) -> Panel:
    def crop(channel: Channel) -> Channel:
        return Channel(channel.name, tuple(
            RevisionLayer(layer.values[:, skip:], None if layer.available is None else layer.available[:, skip:])
            for layer in channel.layers
        ))  # fmt: skip

    return replace(
        panel, first=panel.first + skip, target=crop(panel.target),
        known_future=tuple(map(crop, panel.known_future)), observed=tuple(map(crop, panel.observed)),
    )  # fmt: skip


def split_history(settings: Pipeline, as_of: datetime, first: int, earliest: int) -> tuple[IssueTimes, IssueTimes, int]:
    """Folds for promotion, nights before them for the early stop, and the last step of a fitting window.

    No horizon of an earlier part reaches into a later one.
    """
    at = settings.pipeline
    room = first - earliest - at.context - at.horizon
    nights = max(0, room // settings.grid.steps_per_day)
    # A short history gives up to two in five of its nights to being judged.
    count = min(settings.promotion.folds, nights // 5)
    if count < MIN_ISSUE_TIMES:
        raise DataError(
            f"pipeline {settings.name!r}: too little history to train on: {first - earliest} steps, of which a "
            f"context of {at.context} and a horizon of {at.horizon} leave {nights} issue times; "
            f"{5 * MIN_ISSUE_TIMES} are needed"
        )
    folds = _nights_before(settings.grid, as_of, first - at.horizon, count)
    # What the early stop sees ends before the first fold is issued, not only before its first step.
    over = int(settings.grid.index(folds.issues[:1])[0])
    recent = _nights_before(settings.grid, as_of, over - at.horizon, count)
    return folds, recent, int(recent.steps[0]) - at.horizon


def _nights_before(grid: TimeGrid, as_of: datetime, last: int, count: int) -> IssueTimes:
    """The last `count` nights, at the local time of day of `as_of`, whose forecast starts at step `last` or before."""
    local = local_naive(np.array([to_micros(as_of)]), grid.timezone)[0]
    day = local.astype("datetime64[D]")
    end = grid.dates(np.array([last]))[0]
    back = np.arange(2 * count + 30 + int((day - end).astype(int)), 0, -1)
    days = day - back.astype("timedelta64[D]")
    days = days[grid.is_period_date(days)]
    issues = day_starts(days, grid.timezone) + int((local - day).astype("timedelta64[us]").astype(np.int64))
    steps = np.array([grid.first_step(int(issue)) for issue in issues])
    keep = steps <= last
    return IssueTimes(issues[keep][-count:], steps[keep][-count:])
