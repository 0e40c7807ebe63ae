"""History that the baseline uses. A forecast that falls back and the scores read the same values."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from flows.settings.pipeline import Pipeline
from flows.stages.implausible_values import implausible_values
from flows.stages.panels import visible_target
from model.baseline import history_steps
from storage.store import Store

NO_VALUE = np.iinfo(np.int64).min  # stands for the newest step of a series without a visible value


def visible_history(
    settings: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, first: int
) -> np.ndarray:
    """Return the N steps before step `first` that the baseline of `issue_time` uses.

    Returns:
        Target values, float32, shape (S, N), NaN where a value is not visible.
    """
    return visible_history_with_newest(settings, store, series, issue_time, first)[0]


def visible_history_with_newest(
    settings: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return `visible_history`, shape (S, N), and the newest step with a value within it, shape (S,).

    The newest step is that of `newest_steps`.
    """
    steps = history_steps(settings.pipeline.season, settings.pipeline.context)
    values = visible_target(settings, store, series, issue_time, first - steps, steps)
    left_out = implausible_values(settings, store, series, issue_time, first - steps, values)
    if left_out is not None:
        values = np.where(left_out, np.float32(np.nan), values)
    return _with_older_values(settings, store, series, issue_time, first, values), newest_steps(values, first)


def _with_older_values(
    settings: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, first: int, values: np.ndarray
) -> np.ndarray:
    """Return `values`, shape (S, N), where series without a value get their newest older values.

    For such a series the whole history is read. Its values are moved up to the end of the N steps.
    """
    is_empty = np.isnan(values).all(axis=1)
    if not is_empty.any():
        return values
    epoch_step = int(settings.grid.index(np.array([0]))[0])
    empty_series = tuple(name for name, empty in zip(series, is_empty, strict=True) if empty)
    full_history = visible_target(settings, store, empty_series, issue_time, epoch_step, first - epoch_step)
    values = values.copy()
    season = settings.pipeline.season
    for row, older in zip(np.flatnonzero(is_empty), full_history, strict=True):
        known = np.flatnonzero(~np.isnan(older))
        if len(known):
            # The shift is a multiple of the season, so that each value keeps its position in the season. It is the
            # largest one that does not move the newest value beyond the end.
            shift = (len(older) - 1 - known[-1]) // season * season
            moved = older[max(0, len(older) - shift - values.shape[1]) : len(older) - shift]
            values[row, values.shape[1] - len(moved) :] = moved
    return values


def newest_steps(values: np.ndarray, first: int) -> np.ndarray:
    """Return the step of the newest visible value of each series, shape (S,), NO_VALUE if it has none.

    Args:
        values: Values of the N steps before step `first`, shape (S, N).
        first: Step after the last column of `values`.
    """
    newest = np.full(len(values), first - 1, np.int64)
    is_behind = np.flatnonzero(np.isnan(values[:, -1]))
    visible = ~np.isnan(values[is_behind])
    newest[is_behind] = np.where(visible.any(axis=1), first - 1 - visible[:, ::-1].argmax(axis=1), NO_VALUE)
    return newest


def has_ended(settings: Pipeline, newest: np.ndarray, was_known: np.ndarray) -> np.ndarray:
    """Return which series have ended, shape (S,).

    A series has ended if its newest value is more than `forecast.ended_after` older than that of another series.
    With more series the result can only turn from False to True.

    Args:
        settings: Settings of the pipeline.
        newest: Result of `newest_steps`, shape (S,).
        was_known: Whether the series ever had a value, shape (S,). A series without any is new and has not ended.
    """
    is_visible = newest != NO_VALUE
    if not is_visible.any():
        # The issue time is no reference: if no series has a visible value, the feed is late and no series has ended.
        return np.zeros(len(newest), bool)
    starts = settings.grid.start(np.where(is_visible, newest, newest.max()))
    limit = settings.forecast.ended_after // timedelta(microseconds=1)
    ended: np.ndarray = was_known & (~is_visible | (starts.max() - starts > limit))
    return ended
