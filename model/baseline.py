"""Baseline forecasts: seasonal naive with empirical quantiles. A model must beat them, and they are the last fallback.

The point forecast of a step is the last visible value one or more whole seasons before it. The quantiles around it are
the empirical quantiles of the errors that this rule made over the history (Hyndman and Athanasopoulos, Forecasting:
Principles and Practice, 3rd ed., 5.2 and 5.5). A series with too few such errors gets the deviations of its values from
their median instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SEASONS_OF_ERRORS = 8
_FEWEST_STEPS = 260  # a year of business days
_FEWEST_ERRORS = 10  # with fewer, their quantiles would be narrow by chance


class _SeasonAhead(NamedTuple):
    """Forecast of one season of the horizon.

    Attributes:
        steps: Steps of the horizon.
        point: Point forecasts of S series, shape (S, len(steps)).
        errors: Errors of such forecasts over the history, shape (S, E), NaN where unknown.
    """

    steps: slice
    point: NDArray[np.float64]
    errors: NDArray[np.float64]


def history_steps(season: int, context: int) -> int:
    """Return the steps of history that the baseline uses: eight seasons, a year of business days, or the context."""
    return max(context, _SEASONS_OF_ERRORS * season, _FEWEST_STEPS)


def seasonal_naive(
    history: NDArray[np.floating], season: int, horizon: int, levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the quantiles of the baseline.

    Args:
        history: Values before the first step of the forecast, shape (S, N), NaN where not visible.
        season: Steps per season.
        horizon: Steps to forecast.
        levels: Quantile levels, shape (Q,).

    Returns:
        Array of shape (S, horizon, Q), never crossing. A series without any visible value gets the quantiles of all
        other values. NaN only if no series has a visible value.
    """
    values = history.astype(np.float64, copy=False)
    quantiles = np.empty((len(values), horizon, len(levels)))
    for ahead in _seasons_ahead(values, season, horizon):
        # With a single value, or for a constant, the interval has no width.
        spread = np.nan_to_num(_quantiles(ahead.errors, levels))
        quantiles[:, ahead.steps] = ahead.point[:, :, None] + spread[:, None, :]
    is_unseen = np.isnan(values).all(axis=1)
    if is_unseen.any() and not is_unseen.all():
        quantiles[is_unseen] = np.nanquantile(values[~is_unseen], levels)
    return np.sort(quantiles, axis=2)


def naive_probability_above(
    history: NDArray[np.floating], season: int, horizon: int, thresholds: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return P(value > x) for each threshold x, of the distribution whose quantiles `seasonal_naive` returns.

    Args:
        history: Values before the first step of the forecast, shape (S, N), NaN where not visible.
        season: Steps per season.
        horizon: Steps to forecast.
        thresholds: X values.

    Returns:
        Array of shape (S, horizon, X), NaN for a series without any visible value.
    """
    values = history.astype(np.float64, copy=False)
    probability = np.full((len(values), horizon, len(thresholds)), np.nan)
    if not thresholds:
        return probability
    for ahead in _seasons_ahead(values, season, horizon):
        for row, (point, errors) in enumerate(zip(ahead.point, ahead.errors, strict=True)):
            ordered = np.sort(errors[~np.isnan(errors)]) if not np.isnan(errors).all() else np.zeros(1)
            reaching = np.array(thresholds) - point[:, None]  # (steps, X) errors that reach the thresholds
            level = np.interp(reaching, ordered, np.linspace(0, 1, len(ordered)), left=0.0, right=1.0)
            probability[row, ahead.steps] = np.where(reaching < ordered[-1], 1 - level, 0.0)
    probability[np.isnan(values).all(axis=1)] = np.nan
    return probability


def _seasons_ahead(history: NDArray[np.float64], season: int, horizon: int) -> Iterator[_SeasonAhead]:
    """Yield the forecasts of each season of the horizon."""
    count, length = history.shape
    padding = np.full((count, -length % season), np.nan)
    seasons = np.concatenate([padding, history], axis=1).reshape(count, -1, season)
    level = _last_visible(seasons)  # (S, season)
    level = np.where(np.isnan(level), _nanmedian(history)[:, None], level)
    point = level[:, np.arange(horizon) % season]
    for back in range(1, -(-horizon // season) + 1):
        # The forecast of the n-th season of the horizon is a value n seasons old, so its errors have the same lag.
        steps = slice((back - 1) * season, min(back * season, horizon))
        errors = (seasons[:, back:] - seasons[:, :-back]).reshape(count, -1)
        yield _SeasonAhead(steps, point[:, steps], _with_deviations(errors, history))


def _with_deviations(errors: NDArray[np.float64], history: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the errors, shape (S, E), where series with few errors get the deviations of their values instead.

    A series that is two days old has no error of a weekly season. Without this, its interval would have no width.

    Args:
        errors: Errors of the seasonal naive, NaN where unknown.
        history: Values, shape (S, N), NaN where not visible.

    Returns:
        Array of shape (S, max(E, N)), or the errors themselves.
    """
    is_young = (~np.isnan(errors)).sum(axis=1) < _FEWEST_ERRORS
    if not is_young.any():
        return errors
    result = np.full((len(errors), max(errors.shape[1], history.shape[1])), np.nan)
    result[~is_young, : errors.shape[1]] = errors[~is_young]
    values = history[is_young]
    result[is_young, : history.shape[1]] = values - _nanmedian(values)[:, None]
    return result


def pooled_quantiles(quantiles: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the forecast of a series without history: the quantiles of all quantiles of other series, by step.

    Args:
        quantiles: Quantiles of the other series, shape (S, H, Q).
        levels: Quantile levels, shape (Q,).

    Returns:
        Array of shape (H, Q).
    """
    pooled = quantiles.swapaxes(0, 1).reshape(quantiles.shape[1], -1)
    return np.quantile(pooled, levels, axis=1).T


def seasonal_scale(history: NDArray[np.floating], season: int) -> NDArray[np.float64]:
    """Return the in-sample mean absolute error of the seasonal naive, the denominator of MASE.

    Args:
        history: Shape (S, N), NaN where unknown.
        season: Steps per season.

    Returns:
        Array of shape (S,), NaN for a series without an error.
    """
    errors = np.abs(history[:, season:] - history[:, :-season])
    is_known = ~np.isnan(errors)
    total = np.where(is_known, errors, 0).sum(axis=1)
    return np.where(is_known.any(axis=1), total / np.maximum(is_known.sum(axis=1), 1), np.nan)


def _last_visible(seasons: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the newest visible value of each phase, shape (S, season), from values of shape (S, J, season)."""
    newest_season = np.where(np.isnan(seasons), -1, np.arange(seasons.shape[1])[None, :, None]).max(axis=1)
    newest = np.take_along_axis(seasons, np.maximum(newest_season, 0)[:, None, :], axis=1)[:, 0]
    return np.where(newest_season < 0, np.nan, newest)


def _nanmedian(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return _quantiles(values, np.array([0.5]))[:, 0]


def _quantiles(values: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the empirical quantiles of each row (S, M), ignoring NaN, shape (S, Q). NaN for a row without values."""
    ordered = np.sort(values, axis=1)  # NaN is sorted to the end.
    count = (~np.isnan(ordered)).sum(axis=1)[:, None]
    position = np.maximum(count - 1, 0) * levels
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    if not ordered.shape[1]:
        return np.full((len(values), len(levels)), np.nan)
    below, above = (np.take_along_axis(ordered, i, axis=1) for i in (low, high))
    quantiles: NDArray[np.float64] = below + (above - below) * (position - low)
    return quantiles
