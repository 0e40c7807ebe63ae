"""Training data: the history at the issue time of a training, split by time into three parts.

The first part is fitted on, the second decides when to stop early, and on the third models are compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from flows.stages.panels import count_target_values, known_series, revision_panel, to_instant, to_micros
from model.checks.newest_values import find_implausible
from model.evaluation.comparison import IssueTimes
from model.evaluation.promotion import MIN_ISSUE_TIMES
from model.panel import Channel, Panel, RevisionLayer
from model.spec import ModelSpec
from model.timegrid import TimeGrid, day_starts, local_naive
from model.windows import has_enough_history
from storage.schemas import DataError
from storage.store import Store

_LARGE_PANEL = 100_000_000  # cells; each takes at least 4 bytes for a value, and twice as many while it is read


@dataclass(frozen=True)
class TrainingSplit:
    """History of a training. No horizon of an earlier part reaches into a later part.

    Attributes:
        panel: All revisions within the training window that were available at the issue time.
        last_step: Last step at which the horizon of a fitting window may start.
        validation: Issue times for early stopping.
        held_out: Issue times for the comparison of models.
    """

    panel: Panel
    last_step: int
    validation: IssueTimes
    held_out: IssueTimes

    def spec(self, settings: Pipeline) -> ModelSpec:
        """Return the model to fit, with an embedding for each series that has enough history."""
        is_long = has_enough_history(self.panel, settings.pipeline.context, self.last_step)
        return settings.spec(tuple(name for name, long in zip(self.panel.series, is_long, strict=True) if long))


def read_training_split(settings: Pipeline, store: Store, as_of: datetime) -> TrainingSplit:
    """Read the history that was available at `as_of`, and split it.

    Raises:
        DataError: No target value is within the training window, or too few issue times.
    """
    panel, first = _read_panel(settings, store, as_of)
    held_out, validation = _split(settings, as_of, first, panel.first)
    return TrainingSplit(panel, int(validation.steps[0]) - settings.pipeline.horizon, validation, held_out)


def _read_panel(settings: Pipeline, store: Store, as_of: datetime) -> tuple[Panel, int]:
    """Return all revisions within the training window, and the first step that a forecast at `as_of` would have."""
    series = known_series(settings, store, as_of)
    if not series:
        raise DataError(
            f"pipeline {settings.name!r}: no target value was known at {settings.local_text(as_of)}; run "
            "`gatecast ingest`"
        )
    grid = settings.grid
    first = grid.first_step(to_micros(as_of))
    window = settings.training.window
    begin = as_of - window if window else to_instant(0)
    counts = count_target_values(settings, store, as_of, begin)
    if counts.is_empty():
        if window is None:
            raise DataError(
                f"pipeline {settings.name!r}: the history has no target value until {settings.local_text(as_of)}, only "
                "missing ones; correct the target feeds and run `gatecast ingest`"
            )
        raise DataError(
            f"pipeline {settings.name!r}: the training window from {settings.local_text(begin)} to "
            f"{settings.local_text(as_of)} holds no target value; run `gatecast ingest` or set "
            'training.window = "all"'
        )
    # The steps before the first value would take memory only. With training.window = "all" there are many.
    oldest: datetime = counts["first"].min()  # type: ignore[assignment]
    start = int(grid.index(np.array([to_micros(max(begin, oldest))]))[0])
    _split(settings, as_of, first, start)
    panel = revision_panel(
        settings, store, _fitted_series(settings, series, counts, first - start), as_of, start, first - start
    )
    return without_implausible_newest(crop_to_values(panel)), first


def _fitted_series(settings: Pipeline, series: tuple[str, ...], counts: pl.DataFrame, steps: int) -> tuple[str, ...]:
    """Return the series of the panel: all, or in a large panel those that have values enough for one window.

    Raises:
        DataError: No series has.
    """
    fewest = settings.spec(series).min_visible + 1  # a context, and an actual
    usable = set(counts.filter(pl.col("values") >= fewest)["series_id"])
    if not usable:
        raise DataError(
            f"pipeline {settings.name!r}: too little history to train on: none of {len(series):,} series has the "
            f"{fewest} values in the training window that one example needs. Check series_id of the target feed if "
            "each row has an id of its own."
        )
    return series if len(series) * steps <= _LARGE_PANEL else tuple(name for name in series if name in usable)


def without_implausible_newest(panel: Panel) -> Panel:
    """Return the panel without newest values that a forecast leaves out as well, see `find_implausible`.

    One of them among the held-out actuals would decide the comparison of models alone.
    """
    rows = np.arange(len(panel.series))
    newest = panel.target.final(rows, np.zeros_like(rows), panel.columns)
    is_implausible = find_implausible(newest, panel.grid.steps_per_day)
    if is_implausible is None:
        return panel
    layers = tuple(
        RevisionLayer(np.where(is_implausible, np.float32(np.nan), layer.values), layer.available)
        for layer in panel.target.layers
    )
    return replace(panel, target=Channel(panel.target.name, layers))


def excluded_steps(settings: Pipeline, panel: Panel) -> np.ndarray | None:
    """Return which steps of a panel lie in `training.exclude`, shape (N,), None if the settings exclude nothing."""
    if not settings.training.exclude:
        return None
    return excluded_days(settings, settings.grid.dates(panel.first + np.arange(panel.columns)))


def excluded_days(settings: Pipeline, dates: np.ndarray) -> np.ndarray:
    """Return which local days lie in `training.exclude`, shape (N,)."""
    excluded = np.zeros(len(dates), bool)
    for start, end in settings.training.exclude:
        excluded |= (dates >= np.datetime64(start)) & (dates <= np.datetime64(end))
    return excluded


def past_issue_times(settings: Pipeline, panel: Panel, spec: ModelSpec, as_of: datetime, last: int) -> IssueTimes:
    """Return the issue times before `as_of`, at its local time, that have a whole context in the panel.

    Issue times whose horizon reaches into `training.exclude` are left out.

    Args:
        settings: Settings of the pipeline.
        panel: Panel of the history.
        spec: Spec of the model.
        as_of: Issue time.
        last: Last step at which a forecast may start.
    """
    days = (last - panel.first) // panel.grid.steps_per_day
    times = issue_times_before(panel.grid, as_of, last, max(days, 1))
    is_usable = times.steps - spec.context >= panel.first
    excluded = excluded_steps(settings, panel)
    if excluded is not None:
        is_excluded = np.lib.stride_tricks.sliding_window_view(np.pad(excluded, (0, spec.horizon)), spec.horizon)
        touches = np.asarray(is_excluded.any(axis=1), np.bool_)
        is_usable = is_usable & ~touches[np.maximum(times.steps - panel.first, 0)]
    return IssueTimes(times.issues[is_usable], times.steps[is_usable])


def crop_to_values(panel: Panel) -> Panel:
    """Return the panel without the steps before the first value of its target, all of it if there is no value."""
    skipped = int((~np.isnan(panel.target.layers[0].values).all(axis=0)).argmax())

    def crop(channel: Channel) -> Channel:
        return Channel(channel.name, tuple(
            RevisionLayer(layer.values[:, skipped:], None if layer.available is None else layer.available[:, skipped:])
            for layer in channel.layers
        ))  # fmt: skip

    return replace(
        panel, first=panel.first + skipped, target=crop(panel.target),
        known_future=tuple(map(crop, panel.known_future)), observed=tuple(map(crop, panel.observed)),
    )  # fmt: skip


def _split(settings: Pipeline, as_of: datetime, first: int, earliest: int) -> tuple[IssueTimes, IssueTimes]:
    """Return the held-out issue times and, before them, as many for early stopping.

    Args:
        settings: Settings of the pipeline.
        as_of: Issue time of the training.
        first: First step after the history.
        earliest: First step of the history.
    """
    context, horizon, grid = settings.pipeline.context, settings.pipeline.horizon, settings.grid
    available = max(0, (first - earliest - context - horizon) // grid.steps_per_day)
    # A short history uses at most a fifth of its issue times for each of the two parts.
    count = min(settings.promotion.folds, available // 5)
    if count < MIN_ISSUE_TIMES:
        raise DataError(
            f"pipeline {settings.name!r}: too little history to train on: {first - earliest} steps, of which a "
            f"context of {context} and a horizon of {horizon} leave {available} issue times; "
            f"{5 * MIN_ISSUE_TIMES} are needed"
        )
    held_out = issue_times_before(grid, as_of, first - horizon, count)
    # Early stopping must not use values after the first held-out issue time. It lies before the first held-out step.
    end = int(grid.index(held_out.issues[:1])[0])
    return held_out, issue_times_before(grid, as_of, end - horizon, count)


def issue_times_before(grid: TimeGrid, as_of: datetime, last: int, count: int) -> IssueTimes:
    """Return the newest `count` issue times at the local time of `as_of` whose forecast starts by step `last`."""
    local = local_naive(np.array([to_micros(as_of)]), grid.timezone)[0]
    day = local.astype("datetime64[D]")
    end = grid.dates(np.array([last]))[0]
    days_back = np.arange(2 * count + 30 + int((day - end).astype(int)), 0, -1)
    days = day - days_back.astype("timedelta64[D]")
    days = days[grid.is_period_date(days)]
    issues = day_starts(days, grid.timezone) + int((local - day).astype("timedelta64[us]").astype(np.int64))
    steps = grid.first_steps(issues)
    is_before = steps <= last
    return IssueTimes(issues[is_before][-count:], steps[is_before][-count:])
