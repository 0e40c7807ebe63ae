"""What a training may see: the history at its hour, in parts for fitting, for the early stop and for being judged."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np

from flows.settings.pipeline import Pipeline
from flows.stages.panels import instant, known_series, micros, revision_panel
from model.evaluation.comparison import IssueTimes
from model.evaluation.promotion import FEWEST_NIGHTS
from model.panel import Channel, Panel, RevisionLayer
from model.timegrid import TimeGrid, local_naive, midnights
from storage.schemas import DataError
from storage.store import Store


def read_training_panel(pipeline: Pipeline, store: Store, as_of: datetime) -> tuple[Panel, int]:
    """All revisions within the training window, and the first step that a forecast at `as_of` would have."""
    series = known_series(pipeline, store, as_of)
    if not series:
        raise DataError(
            f"pipeline {pipeline.name!r}: no target value was known at {as_of.isoformat()}; run `gatecast ingest`"
        )
    grid = pipeline.grid
    first = grid.first_step(micros(as_of))
    window = pipeline.training.window
    begin = as_of - window if window else instant(0)
    start = int(grid.index(np.array([micros(begin)]))[0])
    panel = revision_panel(pipeline, store, series, as_of, start, first - start)
    seen = ~np.isnan(panel.target.layers[0].values).all(axis=0)
    if not seen.any():
        raise DataError(f"pipeline {pipeline.name!r}: the training window holds no target value")
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


def split_history(pipeline: Pipeline, as_of: datetime, first: int, earliest: int) -> tuple[IssueTimes, IssueTimes, int]:
    """Folds for promotion, nights before them for the early stop, and the last step of a fitting window.

    No horizon of an earlier part reaches into a later one.
    """
    at = pipeline.pipeline
    room = first - earliest - at.context - at.horizon
    nights = max(0, room // pipeline.grid.steps_per_day)
    # A short history gives up to two in five of its nights to being judged.
    count = min(pipeline.promotion.folds, nights // 5)
    if count < FEWEST_NIGHTS:
        raise DataError(
            f"pipeline {pipeline.name!r}: too little history to train on: {first - earliest} steps, of which a "
            f"context of {at.context} and a horizon of {at.horizon} leave {nights} issue times; "
            f"{5 * FEWEST_NIGHTS} are needed"
        )
    folds = _nights_before(pipeline.grid, as_of, first - at.horizon, count)
    # What the early stop sees ends before the first fold is issued, not only before its first step.
    over = int(pipeline.grid.index(folds.issues[:1])[0])
    recent = _nights_before(pipeline.grid, as_of, over - at.horizon, count)
    return folds, recent, int(recent.steps[0]) - at.horizon


def _nights_before(grid: TimeGrid, as_of: datetime, last: int, count: int) -> IssueTimes:
    """The last `count` nights, at the local time of day of `as_of`, whose forecast starts at step `last` or before."""
    local = local_naive(np.array([micros(as_of)]), grid.timezone)[0]
    day = local.astype("datetime64[D]")
    end = grid.dates(np.array([last]))[0]
    back = np.arange(2 * count + 30 + int((day - end).astype(int)), 0, -1)
    days = day - back.astype("timedelta64[D]")
    days = days[grid.is_day(days)]
    issues = midnights(days, grid.timezone) + int((local - day).astype("timedelta64[us]").astype(np.int64))
    steps = np.array([grid.first_step(int(issue)) for issue in issues])
    keep = steps <= last
    return IssueTimes(issues[keep][-count:], steps[keep][-count:])
