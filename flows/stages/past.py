"""The past that the baseline looks at: the same for a forecast that falls back on it and for the scores."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from flows.settings import Pipeline
from flows.stages.panels import seen_target
from model.baseline import history_steps
from model.panel import Panel
from storage.store import Store


def seen_past(
    pipeline: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, first: int
) -> np.ndarray:
    """(S, N) float32: the steps before `first` as the baseline of `issue_time` saw them, NaN where not visible."""
    back = history_steps(pipeline.pipeline.season, pipeline.pipeline.context)
    past = seen_target(pipeline, store, series, issue_time, first - back, back)
    return with_older_values(pipeline, store, series, issue_time, first, past)


def with_older_values(
    pipeline: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, first: int, past: np.ndarray
) -> np.ndarray:
    """`past` (S, N), with the newest values ever known of the series that it shows nothing of moved up to its end.

    Out of sight is not unknown: for these the whole history is looked at.
    """
    wanted = np.isnan(past).all(axis=1)
    if not wanted.any():
        return past
    step_zero = int(pipeline.grid.index(np.array([0]))[0])
    names = tuple(name for name, want in zip(series, wanted, strict=True) if want)
    found = seen_target(pipeline, store, names, issue_time, step_zero, first - step_zero)
    past = past.copy()
    season = pipeline.pipeline.season
    for row, values in zip(np.flatnonzero(wanted), found, strict=True):
        seen = np.flatnonzero(~np.isnan(values))
        if len(seen):
            # By whole seasons, so that the shape of the season keeps its place.
            shift = -(-(len(values) - 1 - seen[-1] + 1) // season) * season
            moved = values[max(0, len(values) - shift - past.shape[1]) : len(values) - shift]
            past[row, past.shape[1] - len(moved) :] = moved
    return past


def ended(pipeline: Pipeline, panel: Panel, first: int, past: np.ndarray) -> np.ndarray:
    """(S,) whether a series has ended: silent for `forecast.ended_after` and more, while another is not.

    Args:
        panel: what was seen before step `first`, on.
        past: (S, N) the same with older values moved up, so that what was never known at all is no end but a
            beginning.
    """
    before = panel.target.layers[0].values[:, : past.shape[1]]
    seen = ~np.isnan(before)
    ever = ~np.isnan(past).all(axis=1)
    newest = np.where(seen.any(axis=1), seen.shape[1] - 1 - seen[:, ::-1].argmax(axis=1), -1)
    starts = pipeline.grid.start(first - past.shape[1] + np.arange(past.shape[1]))
    limit = pipeline.forecast.ended_after // timedelta(microseconds=1)
    # Not by the issue time: where all are silent the feed is late, and nothing has ended.
    last = starts[newest.max()] if newest.max() >= 0 else starts[-1]
    quiet = np.where(newest >= 0, last - starts[newest], limit + 1) > limit
    return ever & quiet & (newest.max() >= 0)
