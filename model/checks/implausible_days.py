"""Days whose values are impossible beside those of the other days: a slip of the decimal point, or another unit.

A run of a few days is judged by the largest absolute value of each day, within windows of four weeks. It is judged only
if the days before and after it are known, or if it is new. A longer run is not found, because it may be the new level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Ratio to all other values. A price or a load does not rise a hundredfold for a few days.
FACTOR = 100
NEWEST_DAYS = 4  # longest run that ends with the newest day
WINDOW, HOP = 28, 7  # days that are compared, and days from one window to the next
HIGH, LOW = 1, -1

_LONGEST = 8  # Days of all runs in a window. At most half of the known days are implausible.
# Other days, or a third of the window: on grids of days (True) and on finer ones.
_FEWEST_OTHERS = {True: 9, False: 2}
_IDLE_SHARE = 0.2  # With more days of zeros, a series is intermittent.
_IDLE_FACTOR = 10_000
_UNITS = (1e3, 1e6)  # between kW, MW and GW. Low values are another unit if one of these explains them.
_UNIT_RANGE = 2.0  # of the smallest and largest other day
_CELL_FACTOR = 30.0  # to the same time on other days, for a value within a run


def window_starts(days: int) -> NDArray[np.int64]:
    """Return the first day of each window over a number of days. The last one ends with the newest day."""
    if days <= WINDOW:
        return np.zeros(1, np.int64)
    return np.append(np.arange(0, days - WINDOW, HOP), days - WINDOW)


def judge_days(
    peaks: NDArray[np.floating],
    at_start: NDArray[np.bool_],
    at_end: NDArray[np.bool_],
    is_daily: bool,
    newest_days: int = NEWEST_DAYS,
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return the windows with implausible days, and their verdicts.

    Args:
        peaks: Largest absolute values of W days, shape (N, W), NaN without values.
        at_start: Whether the first known day of a window is the first one of the series, shape (N,).
        at_end: Whether the last known day of a window is the newest one of the series, shape (N,).
        is_daily: True if a step is a day.
        newest_days: Longest run that ends with the newest day.

    Returns:
        Numbers of windows, shape (M,), and HIGH, LOW or 0 for each of their days, shape (M, W).
    """
    # Comparisons with the sorted days are needed for few windows only.
    smallest = np.fmin.reduce(np.where(peaks > 0, peaks, np.nan), axis=1)
    candidates = np.flatnonzero(np.fmax.reduce(peaks, axis=1) > FACTOR * smallest)
    if not len(candidates):
        return candidates, np.zeros((0, peaks.shape[1]), np.int8)
    peaks = peaks[candidates]
    order = np.sort(peaks, axis=1)  # NaN last
    known = (~np.isnan(peaks)).sum(axis=1)
    is_intermittent = (peaks == 0).sum(axis=1) > _IDLE_SHARE * known
    cut_high, cut_low = _high_cuts(order, known, is_intermittent), _low_cuts(order, known)
    with np.errstate(invalid="ignore"):
        high = peaks > cut_high[:, None]
        is_low_window = np.logical_not(high.any(axis=1, keepdims=True))
        low = (peaks < cut_low[:, None]) & is_low_window
    high &= _is_judged(high, peaks, at_start[candidates], at_end[candidates], is_daily, newest_days)[:, None]
    # A series may begin with low values before it is in full operation.
    low &= _is_judged(low, peaks, np.zeros(len(candidates), bool), at_end[candidates], is_daily, newest_days)[:, None]
    low &= _is_unit(low, peaks)[:, None]
    found = np.flatnonzero((high | low).any(axis=1))
    verdicts = np.where(high, HIGH, np.where(low, LOW, 0)).astype(np.int8)
    return candidates[found], verdicts[found]


def implausible_cells(
    values: NDArray[np.floating], days: NDArray[np.int64], phases: NDArray[np.int64], verdicts: NDArray[np.int8]
) -> NDArray[np.bool_]:
    """Return which values of one window of a series are implausible, shape (N,).

    Args:
        values: Values, shape (N,), NaN where not known.
        days: Day of each value in the window, from 0, shape (N,).
        phases: Step of each value within its day, shape (N,).
        verdicts: Verdict of each day, shape (W,).
    """
    size = np.abs(values)
    is_high = bool((verdicts == HIGH).any())
    is_other = (verdicts == 0)[days] & ~np.isnan(size)
    typical = np.full(phases.max() + 1, np.nan)
    for phase in np.unique(phases[is_other]):
        others = size[is_other & (phases == phase)]
        typical[phase] = others.max() if is_high else np.median(others)
    if is_high:
        # At a time of day at which the others are zero, small values are no fault.
        limit = np.fmax(typical, size[is_other].max() / 1000)[phases]
        is_found: NDArray[np.bool_] = (verdicts == HIGH)[days] & (size > _CELL_FACTOR * limit)
        return is_found
    # A run that begins within a day leaves the peak of that day high.
    near = np.convolve(verdicts == LOW, np.ones(3), "same").astype(bool)
    result: NDArray[np.bool_] = near[days] & (size > 0) & (size * _CELL_FACTOR < typical[phases])
    return result


def _high_cuts(
    order: NDArray[np.floating], known: NDArray[np.int64], is_intermittent: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the largest plausible peak of each window, infinite if all are plausible."""
    cuts = np.full(len(order), np.inf)
    factor = np.where(is_intermittent, _IDLE_FACTOR, FACTOR)
    rows = np.arange(len(order))
    for count in range(1, min(_LONGEST, order.shape[1] - 1) + 1):
        is_possible = count <= known // 2
        smallest_high, largest_other = (order[rows, np.maximum(known - n, 0)] for n in (count, count + 1))
        is_cut = is_possible & (largest_other > 0) & (smallest_high > factor * largest_other)
        cuts[is_cut] = largest_other[is_cut]
    return cuts


def _low_cuts(order: NDArray[np.floating], known: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the smallest plausible peak of each window, zero if all are plausible."""
    cuts = np.zeros(len(order))
    for count in range(1, min(_LONGEST, order.shape[1] - 1) + 1):
        is_possible = count <= (known - 1) // 2
        # Where a day is zero, low values are how the series ends or begins.
        is_cut = is_possible & (order[:, 0] > 0) & (order[:, count] > FACTOR * order[:, count - 1])
        cuts[is_cut] = order[is_cut, count]
    return cuts


def _is_judged(
    found: NDArray[np.bool_],
    peaks: NDArray[np.floating],
    at_start: NDArray[np.bool_],
    at_end: NDArray[np.bool_],
    is_daily: bool,
    newest_days: int,
) -> NDArray[np.bool_]:
    """Return the windows whose runs have other days on both sides, or are new or the first of a series."""
    is_known = ~np.isnan(peaks)
    is_other = is_known & ~found
    width = peaks.shape[1]
    first_other, last_other = is_other.argmax(axis=1), width - 1 - is_other[:, ::-1].argmax(axis=1)
    days = np.arange(width)
    leading = (found & (days < first_other[:, None])).sum(axis=1)
    trailing = (found & (days > last_other[:, None])).sum(axis=1)
    fewest = np.minimum(_FEWEST_OTHERS[is_daily], np.maximum(width // 3, 1))
    is_judged: NDArray[np.bool_] = (
        (is_other.sum(axis=1) >= fewest)
        & ((leading == 0) | (at_start & (leading <= NEWEST_DAYS)))
        & ((trailing == 0) | (at_end & (trailing <= newest_days)))
    )
    return is_judged


def _is_unit(low: NDArray[np.bool_], peaks: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return the windows whose low days are those of another unit, shape (N,). Others may be an outage or a closure."""
    result = np.zeros(len(low), bool)
    for row in np.flatnonzero(low.any(axis=1)):
        ours, others = peaks[row, low[row]], peaks[row, ~low[row] & ~np.isnan(peaks[row])]
        smallest, largest = others.min() / _UNIT_RANGE, others.max() * _UNIT_RANGE
        result[row] = any((ours * unit >= smallest).all() and (ours * unit <= largest).all() for unit in _UNITS)
    return result
