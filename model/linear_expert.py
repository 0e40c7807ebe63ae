"""Fit of the linear expert: one ridge regression per step of the horizon, in closed form, without torch.

The ONNX file computes the design matrix and applies the coefficients, so training, forecast and this fit share one
definition of the features (`model/training/linear_features.py`). This module only solves for the coefficients. The
design follows the LEAR model: Lago, Marcjasz, De Schutter and Weron (2021), https://doi.org/10.1016/j.apenergy.2021.116983,
with a ridge penalty in place of LASSO (`model/ridge.py`).

Shapes: N windows at past issue times, H horizon, D steps per block, G blocks (days of the horizon). F is the number of
features, Q that of quantile levels, R that of rows in the table of coefficients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.evaluation import metrics
from model.one_blas_thread import one_blas_thread
from model.ridge import Floats, LeftOut, fit_block

#: Inputs of the ONNX file that hold the expert's tables, by the name of the table. A file has a default for each.
LINEAR_TABLES = {
    "coefficients": "linear_coefficients", "scaling": "linear_scaling", "residuals": "linear_residuals",
    "share": "linear_share",
}  # fmt: skip
#: Outputs of the ONNX file that a fit and an inspection need: design (B, G, F), forecast (B, H), and location and
#: scale of each window (B, 2).
LINEAR_OUTPUTS = ("linear_design", "linear_forecast", "linear_window")
#: Outputs of the ONNX file that return its tables as they are, by the name of the table.
TABLE_OUTPUTS = {name: f"{table}_table" for name, table in LINEAR_TABLES.items()}
#: Most series with coefficients of their own. The file grows by about 40 kB per series, and a night by a fit each.
MOST_SERIES = 64
#: Fewest windows from which coefficients are fitted.
MIN_WINDOWS = 60
#: Largest absolute forecast in the asinh transform: about 1,500 scales.
MOST_ASINH = 8.0
#: Contiguous parts of the windows that are left out, one after the other.
FOLDS = 12
_GAP = 7  # windows beside a left-out fold whose horizons and lags overlap it
#: Windows forecast by one set of coefficients of older windows.
_REFIT_EVERY = 15
#: Issue times that the residual quantiles are from.
NEWEST_RESIDUALS = 90
_SHARE_BLOCKS = 4  # blocks of steps with a weight of their own
#: Least known share of the context in a window that coefficients are fitted on.
_FEWEST_KNOWN = 0.5
#: Largest distance of an actual from the window's location, in the window's scale, in such a window.
_MOST_SCALES = 50.0
_SHARE_PRIOR = 28.0  # windows that an equal weight counts as


@dataclass(frozen=True)
class LinearFit:
    """Fit of one series.

    Attributes:
        coefficients: Coefficients of the features, then the intercept, (H, F + 1).
        parts: The same without each left-out part, (parts, H, F + 1).
        part: Left-out part of each window, -1 without one, (N,).
        residuals: Scaled residuals of the left-out forecasts, (N, H), NaN where unknown.
    """

    coefficients: Floats
    parts: Floats
    part: NDArray[np.int64]
    residuals: Floats


def fit_linear(
    design: NDArray[np.float32], actual: Floats, length: int, penalty: float, is_forward: bool = False
) -> LinearFit:
    """Fit the coefficients of one series, on all windows and without each left-out part.

    Args:
        design: Features of each block, oldest window first, (N, G, F).
        actual: Scaled and transformed actuals, (N, H), NaN if unknown.
        length: Steps per block.
        penalty: Ridge penalty. It is multiplied by the root of the number of windows.
        is_forward: Whether only the newest windows are forecast, each from older ones alone, as at night. Otherwise
            all windows are, each from those before and after its fold.
    """
    count = len(design)
    part, forecasts = np.full(count, -1), np.full(actual.shape, np.nan)
    coefficients, others = [], []
    # A few threads sum in another order, and the result must not depend on their number.
    with one_blas_thread():
        for block, steps in enumerate(block_steps(actual.shape[1], length)):
            features = design[:, block].astype(np.float64)
            left_out = _newest_parts(count, (steps.stop - 1) // length) if is_forward else _folds(count)
            solutions = fit_block(features, actual[:, steps], penalty, left_out)
            coefficients.append(solutions[0])
            others.append(solutions[1:])
            for number, (one, solution) in enumerate(zip(left_out, solutions[1:], strict=True)):
                part[one.rows] = number
                forecasts[one.rows, steps] = features[one.rows] @ solution[:, :-1].T + solution[:, -1]
    return LinearFit(np.concatenate(coefficients), np.concatenate(others, axis=1), part, actual - forecasts)


def _folds(count: int) -> list[LeftOut]:
    """Return the folds of `count` windows, each with the windows beside it that overlap it."""
    fold = np.arange(count) * FOLDS // max(count, 1)
    edges = [np.flatnonzero(fold == number)[[0, -1]] for number in np.unique(fold)]
    return [LeftOut(slice(first, last + 1), max(first - _GAP, 0), min(last + _GAP + 1, count)) for first, last in edges]


def _newest_parts(count: int, overlap: int) -> list[LeftOut]:
    """Return parts of the newest windows, each left out with all newer windows.

    Args:
        count: Number of windows.
        overlap: Number of older windows whose steps are unknown when a window is forecast.
    """
    first = max(count - NEWEST_RESIDUALS, count // 2)
    return [
        LeftOut(slice(begin, min(begin + _REFIT_EVERY, count)), max(begin - overlap, 0), count)
        for begin in range(first, count, _REFIT_EVERY)
    ]


def fit_scaled(
    design: NDArray[np.float32], actual: NDArray[np.float32], scaling: NDArray[np.float32], window: Floats, length: int,
    is_forward: bool = False,
) -> tuple[LinearFit, Floats]:  # fmt: skip
    """Fit the coefficients of one series in the scale of its windows.

    Args:
        design: Features of each block, oldest window first, (N, G, F).
        actual: Actuals, (N, H), NaN if unknown.
        scaling: Location, scale, transform and penalty: a row of the table `scaling`, whose other columns do not count.
        window: Location and scale of each window, (N, 2).
        length: Steps per block.
        is_forward: As in `fit_linear`.

    Returns:
        The fit, and the left-out residuals in scales, without the transform, (N, H).
    """
    scaled = (actual.astype(np.float64) - window[:, :1]) / window[:, 1:]
    if not scaling[1]:
        # The scale of an empty or constant context is almost 0. One such window would decide on all coefficients.
        most = np.sinh(MOST_ASINH) if scaling[2] else _MOST_SCALES
        scaled[(np.abs(scaled) > most).any(axis=1)] = np.nan
    transformed = np.arcsinh(scaled) if scaling[2] else scaled
    fit = fit_linear(design, transformed, length, float(scaling[3]), is_forward)
    forecast = transformed - fit.residuals
    return fit, scaled - (np.sinh(forecast.clip(-MOST_ASINH, MOST_ASINH)) if scaling[2] else forecast)


def with_context(actual: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the actuals (N, H), NaN for windows of which less than half of the context is known.

    Args:
        actual: Actuals, (N, H).
        target: Contexts, (N, C), NaN where unknown.
    """
    is_short = np.isfinite(target).mean(axis=1) < _FEWEST_KNOWN
    return np.where(is_short[:, None], np.float32(np.nan), actual)


def block_steps(horizon: int, length: int) -> Iterator[slice]:
    """Yield the steps of each block of the horizon. The last may be shorter than `length`."""
    for begin in range(0, horizon, length):
        yield slice(begin, min(horizon, begin + length))


def residual_quantiles(residuals: Floats, levels: tuple[float, ...]) -> Floats:
    """Return the quantiles of the newest known residuals by step, (H, Q), 0 for a step without any.

    Args:
        residuals: Residuals of left-out forecasts, oldest first, (N, H), NaN where unknown.
        levels: Quantile levels, (Q,).
    """
    newest = residuals[~np.isnan(residuals).all(axis=1)][-NEWEST_RESIDUALS:]
    known = ~np.isnan(newest).all(axis=0)
    quantiles = np.zeros((residuals.shape[1], len(levels)))
    if known.any():
        quantiles[known] = np.nanquantile(newest[:, known], levels, axis=0).T
    return quantiles


def fit_shares(
    network: Floats, linear: Floats, actual: NDArray[np.float32], weights: NDArray[np.float32],
    levels: tuple[float, ...], windows: int,
) -> Floats:  # fmt: skip
    """Return the weight of the linear expert's quantiles beside the network's at each step, (H,).

    A block of steps has one weight. It minimises the pinball loss of the average, and is shrunk towards one half.

    Args:
        network: Quantiles of the network, (N, H, Q).
        linear: Quantiles of the linear expert, (N, H, Q).
        actual: Actuals, (N, H), NaN if unknown.
        weights: Weight of each window, (N,).
        levels: Quantile levels, (Q,).
        windows: Number of windows, which decides on the shrinkage.
    """
    shares, known = np.linspace(0.0, 1.0, 11), actual.astype(np.float64)
    losses = np.stack([
        np.nansum(metrics.pinball(network + share * (linear - network), np.array(levels), known) * weights[:, None],
                  axis=0)
        for share in shares
    ])  # fmt: skip
    result = np.empty(actual.shape[1])
    for steps in np.array_split(np.arange(actual.shape[1]), min(_SHARE_BLOCKS, actual.shape[1])):
        best = shares[losses[:, steps].sum(axis=1).argmin()]
        result[steps] = (windows * best + _SHARE_PRIOR * 0.5) / (windows + _SHARE_PRIOR)
    return result
