"""Ridge regression of one block of steps in closed form: on all windows, and without each of several parts.

A ridge penalty is that of Hoerl and Kennard (1970). The coefficients of several calibration windows are averaged, as
Lago, Marcjasz, De Schutter and Weron (2021) do, https://doi.org/10.1016/j.apenergy.2021.116983.

Shapes: N windows, F features, D steps of the block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Newest windows of each calibration window whose coefficients are averaged, None for all.
CALIBRATION_WINDOWS = (728, None)
_FLOOR = 1e-6
#: Standard deviation of a feature, in its scale, below which it counts as constant: its coefficient would be so large
#: that the product loses digits in single precision.
_LEAST_DEVIATION = 1e-2
#: Features per row of a left-out part above which the part's influence costs less than another factorisation.
_FEATURES_PER_ROW = 3


@dataclass(frozen=True)
class LeftOut:
    """Windows that are forecast by a fit on others.

    Attributes:
        rows: Windows to forecast.
        begin: First window that the fit leaves out.
        end: First window after it that the fit uses.
    """

    rows: slice
    begin: int
    end: int


def fit_block(features: Floats, actual: Floats, penalty: float, left_out: list[LeftOut]) -> Floats:
    """Return the coefficients of one block, then those without each part, (1 + parts, D, F + 1).

    Args:
        features: Features of all windows, oldest first, (N, F). A window with one that is not finite is left out.
        actual: Actuals, (N, D). A window with an unknown one (NaN) is left out.
        penalty: Ridge penalty. It is multiplied by the root of the number of windows.
        left_out: Parts without which the coefficients are fitted again.
    """
    usable = np.asarray(np.isfinite(features).all(axis=1) & ~np.isnan(actual).any(axis=1))
    mean, deviation = _standardisation(features[usable])
    rows = np.flatnonzero(usable)
    standardised = np.concatenate([(features[rows] - mean) / deviation, np.ones((len(rows), 1))], axis=1)
    known, bounds = actual[rows], [np.searchsorted(rows, (one.begin, one.end)).tolist() for one in left_out]
    starts = [int(np.searchsorted(rows, len(features) - length)) for length in _calibration_lengths(len(features))]
    gram = np.zeros((standardised.shape[1], standardised.shape[1]))
    moments = np.zeros((standardised.shape[1], actual.shape[1]))
    means = np.zeros((len(left_out) + 1, *moments.shape))
    newer = len(rows)
    for start in starts:
        # A longer window has the rows of the shorter one too.
        added = standardised[start:newer]
        gram, moments, newer = gram + added.T @ added, moments + added.T @ known[start:newer], start
        parts = [slice(max(begin - start, 0), max(end - start, 0)) for begin, end in bounds]
        means += _solve_parts(standardised[start:], known[start:], gram, moments, penalty, parts) / len(starts)
    slopes = means[:, :-1] / deviation[:, None]
    intercepts = means[:, -1:] - (mean / deviation)[None, None] @ means[:, :-1]
    return np.concatenate([slopes, intercepts], axis=1).swapaxes(1, 2)


def _calibration_lengths(count: int) -> list[int]:
    """Return the lengths of the calibration windows of `count` windows, ascending, each once."""
    return list(dict.fromkeys(min(length or count, count) for length in CALIBRATION_WINDOWS))


def _standardisation(features: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each feature. One that hardly varies has none, and gets no coefficient."""
    if not len(features):
        return np.zeros(features.shape[1]), np.ones(features.shape[1])
    deviation = features.std(axis=0)
    return features.mean(axis=0), np.where(deviation > _LEAST_DEVIATION, deviation, np.inf)


def _solve_parts(
    standardised: Floats, actual: Floats, gram: Floats, moments: Floats, penalty: float, parts: list[slice]
) -> Floats:
    """Return the ridge coefficients on all rows, then without each part, (1 + parts, F + 1, D).

    The last feature is the intercept, which has no penalty.

    Args:
        standardised: Features of all rows, (N, F + 1).
        actual: Actuals of all rows, (N, D).
        gram: Product of the features with themselves, (F + 1, F + 1).
        moments: Product of the features with the actuals, (F + 1, D).
        penalty: Ridge penalty. It is multiplied by the root of the number of rows.
        parts: Rows of each part.
    """
    penalised, diagonal = gram.copy(), np.arange(len(gram) - 1)
    penalised[diagonal, diagonal] += penalty * np.sqrt(max(len(actual), 1)) + _FLOOR
    penalised[-1, -1] += _FLOOR
    if max((part.stop - part.start for part in parts), default=0) * _FEATURES_PER_ROW > len(gram):
        solutions = [np.linalg.solve(penalised, moments)]
        for part in parts:
            own = standardised[part]
            solutions.append(np.linalg.solve(penalised - own.T @ own, moments - own.T @ actual[part]))
        return np.stack(solutions)
    # Small parts share one factorisation: without a part B, the coefficients are whole - inv(A) X_B' inv(I - H_BB) r_B.
    # A is the penalised Gram matrix, H = X inv(A) X' and r the residuals (Cook and Weisberg 1982, section 2.2).
    first = min((part.start for part in parts), default=len(actual))
    solved = np.linalg.solve(penalised, np.concatenate([moments, standardised[first:].T], axis=1))
    whole, influence = solved[:, : actual.shape[1]], solved[:, actual.shape[1] :]
    solutions = [whole]
    for part in parts:
        own, features = influence[:, part.start - first : part.stop - first], standardised[part]
        remaining = np.eye(len(features)) - features @ own
        solutions.append(whole - own @ np.linalg.solve(remaining, actual[part] - features @ whole))
    return np.stack(solutions)
