"""The past that the baseline looks at: the same for a forecast that falls back on it and for the scores."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from flows.settings.pipeline import Pipeline
from flows.stages.panels import visible_target
from model.baseline import history_steps
from storage.store import Store

NO_VALUE = np.iinfo(np.int64).min  # in place of a step: no value of the series is in sight


def visible_history(
    settings: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, first: int
) -> np.ndarray:
    """(S, N) float32: the steps before `first` as the baseline of `issue_time` saw them, NaN where not visible."""
    return visible_history_with_newest(settings, store, series, issue_time, first)[0]


def visible_history_with_newest(
    settings: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """`visible_history`, and (S,) the newest step that is in sight of it: see `newest_steps`."""
    back = history_steps(settings.pipeline.season, settings.pipeline.context)
    past = visible_target(settings, store, series, issue_time, first - back, back)
    return _with_older_values(settings, store, series, issue_time, first, past), newest_steps(past, first)


def _with_older_values(
    settings: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, first: int, past: np.ndarray
) -> np.ndarray:
    """`past` (S, N), with the newest values ever known of the series that it shows nothing of moved up to its end.

    Out of sight is not unknown: for these the whole history is looked at.
    """
    wanted = np.isnan(past).all(axis=1)
    if not wanted.any():
        return past
    step_zero = int(settings.grid.index(np.array([0]))[0])
    names = tuple(name for name, want in zip(series, wanted, strict=True) if want)
    found = visible_target(settings, store, names, issue_time, step_zero, first - step_zero)
    past = past.copy()
    season = settings.pipeline.season
    for row, values in zip(np.flatnonzero(wanted), found, strict=True):
        seen = np.flatnonzero(~np.isnan(values))
        if len(seen):
            # By whole seasons, so that the shape of the season keeps its place.
            shift = -(-(len(values) - 1 - seen[-1] + 1) // season) * season
            moved = values[max(0, len(values) - shift - past.shape[1]) : len(values) - shift]
            past[row, past.shape[1] - len(moved) :] = moved
    return past


def newest_steps(before: np.ndarray, first: int) -> np.ndarray:
    """(S,) the step of the newest value visible of each row of `before` (S, N), the steps up to `first`; or SILENT."""
    newest = np.full(len(before), first - 1, np.int64)
    behind = np.flatnonzero(np.isnan(before[:, -1]))
    seen = ~np.isnan(before[behind])
    newest[behind] = np.where(seen.any(axis=1), first - 1 - seen[:, ::-1].argmax(axis=1), NO_VALUE)
    return newest


def has_ended(settings: Pipeline, newest: np.ndarray, ever: np.ndarray) -> np.ndarray:
    """(S,) whether a series has ended: silent for `forecast.ended_after` and more, while another is not.

    With more series at hand others can turn out to have ended, and none not to have.

    Args:
        newest: (S,) of `newest_steps`.
        ever: (S,) whether any value was ever known: what was never known is no end but a beginning.
    """
    heard = newest != NO_VALUE
    if not heard.any():
        # Not by the issue time: where all are silent the feed is late, and nothing has ended.
        return np.zeros(len(newest), bool)
    starts = settings.grid.start(np.where(heard, newest, newest.max()))
    limit = settings.forecast.ended_after // timedelta(microseconds=1)
    return ever & (~heard | (starts.max() - starts > limit))
