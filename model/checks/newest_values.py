"""Values that a model must not see, because they are impossible beside the others: a slip, or another unit for days."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.checks.implausible_days import FACTOR, NEWEST_DAYS, WINDOW, implausible_cells, judge_days, window_starts

__all__ = ["DAYS", "FACTOR", "WINDOW", "find_implausible", "starts_with_run"]

DAYS = NEWEST_DAYS


def find_implausible(values: NDArray[np.floating], steps_per_day: int) -> NDArray[np.bool_] | None:
    """Return which values are over FACTOR times all others of four weeks, or below one FACTOR-th in another unit.

    A run of a few days is found if it is the newest, or if other values are known before and after it. A newest run of
    more than DAYS days is not found, because then the new level may be the right one.

    Args:
        values: Values of S series up to the issue time, shape (S, N), NaN where not visible.
        steps_per_day: Steps in a day.

    Returns:
        Array of shape (S, N), or None if all values are plausible.
    """
    count = values.shape[1]
    if count < 2:
        return None
    length = min(steps_per_day, count // 2)  # With less than two days, the newer half is compared with the older one.
    peaks = _peaks(values, length)
    missing = peaks.shape[1] * length - count  # steps of the first day that the values lack
    known = ~np.isnan(peaks)
    first_known, last_known = known.argmax(axis=1), peaks.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    result: NDArray[np.bool_] | None = None
    for start in window_starts(peaks.shape[1]).tolist():
        # Without a value before, the first known day is that of the series.
        at_start, at_end = (first_known >= start) & (first_known > 0), last_known < start + WINDOW
        rows, verdicts = judge_days(peaks[:, start : start + WINDOW], at_start, at_end, steps_per_day == 1)
        stop = min(start + WINDOW, peaks.shape[1])
        first, last = max(start * length - missing, 0), stop * length - missing
        places = np.arange(first, last) + missing
        for row, verdict in zip(rows, verdicts, strict=True):
            cells = implausible_cells(values[row, first:last], places // length - start, places % length, verdict)
            if result is None:
                result = np.zeros(values.shape, bool)
            result[row, first:last] |= cells
    return result


def starts_with_run(values: NDArray[np.floating], steps_per_day: int) -> NDArray[np.int64]:
    """Return the series whose first days differ from the others so much that older values must decide, shape (R,).

    The first days may be the end of a run of another unit, or the level before a change that lasted.
    """
    if values.shape[1] < 2:
        return np.zeros(0, np.int64)
    peaks = _peaks(values, min(steps_per_day, values.shape[1] // 2))[:, :WINDOW]
    peaks = np.where(peaks > 0, peaks, np.nan)
    rows = np.flatnonzero(np.fmax.reduce(peaks, axis=1) > FACTOR * np.fmin.reduce(peaks, axis=1))
    if not len(rows):
        return rows
    # With an ordinary day before them, the first days are a run within the window.
    ordinary = np.nanmedian(peaks[rows], axis=1, keepdims=True)
    is_all = np.full(len(rows), values.shape[1] <= WINDOW * steps_per_day)
    window = np.concatenate([ordinary, peaks[rows]], axis=1)
    found, verdicts = judge_days(window, np.zeros(len(rows), bool), is_all, steps_per_day == 1)
    result: NDArray[np.int64] = rows[found[(verdicts[:, 1:3] != 0).any(axis=1)]]
    return result


def _peaks(values: NDArray[np.floating], length: int) -> NDArray[np.floating]:
    """Return the largest absolute value of each day, shape (S, D), NaN without values. The newest day is complete."""
    count = values.shape[1]
    whole = count // length * length
    rest = count - whole
    days = [np.fmax.reduce(np.abs(values[:, rest:]).reshape(len(values), -1, length), axis=2)]
    if rest:
        days.insert(0, np.fmax.reduce(np.abs(values[:, :rest]), axis=1)[:, None])
    return np.concatenate(days, axis=1)
