"""Target values that no forecast uses, because they are impossible beside the others of their series."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from flows.settings.pipeline import Pipeline
from flows.stages.panels import to_instant, visible_target
from model.checks.newest_values import FACTOR, WINDOW, find_implausible, starts_with_run
from storage.store import Store


def implausible_values(
    settings: Pipeline, store: Store, series: tuple[str, ...], issue_time: datetime, start: int, values: np.ndarray
) -> np.ndarray | None:
    """Return which values are implausible, see `find_implausible`, shape (S, N), or None if all are plausible.

    Of series whose first days differ from the others, older values are read. They show whether the days are the end of
    a run of another unit, or the level before a change.

    Args:
        settings: Settings of the pipeline.
        store: Store of the pipeline.
        series: Ids of the S series.
        issue_time: Instant as of which values are read.
        start: Step of the first column.
        values: Target values, shape (S, N), NaN where not visible.
    """
    steps_per_day = settings.grid.steps_per_day
    result = find_implausible(values, steps_per_day)
    rows = starts_with_run(values, steps_per_day)
    if not len(rows):
        return result
    columns = WINDOW * steps_per_day
    names = tuple(series[row] for row in rows)
    older = visible_target(settings, store, names, issue_time, start - columns, columns)
    found = find_implausible(np.concatenate([older, values[rows]], axis=1), steps_per_day)
    if found is None or not found[:, columns:].any():
        return result
    result = np.zeros(values.shape, bool) if result is None else result
    result[rows] |= found[:, columns:]
    return result


def implausible_reasons(settings: Pipeline, values: np.ndarray, left_out: np.ndarray, start: int) -> np.ndarray:
    """Return a reason for each series with a value in `left_out`, shape (S,), None for the others.

    Args:
        settings: Settings of the pipeline.
        values: Values, shape (S, N or more).
        left_out: Values that are left out, shape (S, N).
        start: Step of the first column.
    """
    reasons = np.full(len(values), None, object)
    for row in np.flatnonzero(left_out.any(axis=1)):
        columns = np.flatnonzero(left_out[row])
        reasons[row] = _reason(settings, values[row, : left_out.shape[1]], columns, start)
    return reasons


def _reason(settings: Pipeline, values: np.ndarray, columns: np.ndarray, start: int) -> str:
    """Return the reason of one series with values (N,), of which those at `columns` are left out."""
    begin, end = (settings.local_text(to_instant(int(at))) for at in settings.grid.start(start + columns[[0, -1]]))
    sizes, others = np.abs(values[columns]), np.delete(np.abs(values), columns)
    is_high = sizes.max() > np.nanmax(others, initial=0)
    example = values[columns[sizes.argmax() if is_high else sizes.argmin()]]
    problem = f"over {FACTOR} times all others" if is_high else f"below 1/{FACTOR} of the others"
    if len(columns) == 1:
        return f"the value {example:.6g} at {begin} is {problem} and was left out; correct it in the source"
    return (
        f"{len(columns)} values from {begin} to {end}, such as {example:.6g}, are {problem} and were left out; correct "
        "them in the source"
    )
