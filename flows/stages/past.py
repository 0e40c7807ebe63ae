"""The past that the baseline looks at: the same for a forecast that falls back on it and for the scores."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from flows.settings import Pipeline
from flows.stages.panels import seen_target
from model.baseline import history_steps
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
