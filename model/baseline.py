"""The baseline: seasonal naive with empirical quantiles. It is the bar for the model, and its fallback.

The point forecast of a step is the last visible value one or more whole seasons before it. Around it lie
the empirical quantiles of the errors that this very rule made over the history given (Hyndman and
Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., 5.2 and 5.5).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_SEASONS_OF_ERRORS = 8
_FEWEST_STEPS = 260


def history_steps(season: int, context: int) -> int:
    """Steps of history that the baseline looks at: eight seasons, or a year of business days if more."""
    return max(context, _SEASONS_OF_ERRORS * season, _FEWEST_STEPS)


def seasonal_naive(history: np.ndarray, season: int, horizon: int, levels: np.ndarray) -> np.ndarray:
    """Quantiles of the baseline.

    Args:
        history: (S, N) values before the first step forecast, NaN where not visible.
        season, horizon: numbers of steps.
        levels: (Q,) quantile levels.

    Returns:
        (S, horizon, Q) float64, never crossing. A series with no visible value at all gets the quantiles of
        all the others' values; NaN only where nothing is visible in any series.
    """
    history = np.asarray(history, np.float64)
    out = np.empty((len(history), horizon, len(levels)))
    for part, point, errors in _rule(history, season, horizon):
        # A rule that never met an error (one value, or a constant) says so with no spread.
        out[:, part] = point[:, :, None] + np.nan_to_num(_quantiles(errors, levels))[:, None, :]
    unseen = np.isnan(history).all(axis=1)
    if unseen.any() and not unseen.all():
        out[unseen] = np.nanquantile(history[~unseen], levels)
    return np.sort(out, axis=2)


def naive_probability_above(history: np.ndarray, season: int, horizon: int, above: tuple[float, ...]) -> np.ndarray:
    """(S, horizon, X) P(value > x) of the distribution whose quantiles `seasonal_naive` gives.

    NaN for a series with no visible value at all. Arguments as of `seasonal_naive`; `above` holds X values.
    """
    history = np.asarray(history, np.float64)
    out = np.full((len(history), horizon, len(above)), np.nan)
    if not above:
        return out
    for part, point, errors in _rule(history, season, horizon):
        for row, (middle, met) in enumerate(zip(point, errors, strict=True)):
            ordered = np.sort(met[~np.isnan(met)]) if not np.isnan(met).all() else np.zeros(1)
            wanted = np.array(above) - middle[:, None]  # (steps, X) errors that reach the thresholds
            level = np.interp(wanted, ordered, np.linspace(0, 1, len(ordered)), left=0.0, right=1.0)
            out[row, part] = np.where(wanted < ordered[-1], 1 - level, 0.0)
    out[np.isnan(history).all(axis=1)] = np.nan
    return out


def _rule(history: np.ndarray, season: int, horizon: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Of each season of the horizon its steps, their point forecasts (S, steps), and the errors (S, E) of such ones."""
    count, length = history.shape
    pad = -length % season
    seasons = np.concatenate([np.full((count, pad), np.nan), history], axis=1).reshape(count, -1, season)
    level = _last_visible(seasons)  # (S, season)
    level = np.where(np.isnan(level), _nanmedian(history)[:, None], level)
    point = level[:, np.arange(horizon) % season]
    for back in range(1, -(-horizon // season) + 1):
        # Steps in the back-th season of the horizon lean on a value that many seasons old.
        part = slice((back - 1) * season, min(back * season, horizon))
        yield part, point[:, part], (seasons[:, back:] - seasons[:, :-back]).reshape(count, -1)


def pooled_quantiles(quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(H, Q) quantiles of a series like the others, at each step those of all their quantiles taken together.

    Args:
        quantiles: (S, H, Q) of the others.
        levels: (Q,) quantile levels.
    """
    pooled = quantiles.swapaxes(0, 1).reshape(quantiles.shape[1], -1)
    return np.quantile(pooled, levels, axis=1).T


def seasonal_scale(history: np.ndarray, season: int) -> np.ndarray:
    """(S,) in-sample MAE of the seasonal naive on `history` (S, N): the denominator of MASE. NaN if unknown."""
    errors = np.abs(history[:, season:] - history[:, :-season])
    seen = ~np.isnan(errors)
    total = np.where(seen, errors, 0).sum(axis=1)
    return np.where(seen.any(axis=1), total / np.maximum(seen.sum(axis=1), 1), np.nan)


def _last_visible(seasons: np.ndarray) -> np.ndarray:
    """(S, season): for each phase the newest visible value of (S, J, season), NaN if none."""
    rank = np.where(np.isnan(seasons), -1, np.arange(seasons.shape[1])[None, :, None]).max(axis=1)
    newest = np.take_along_axis(seasons, np.maximum(rank, 0)[:, None, :], axis=1)[:, 0]
    return np.where(rank < 0, np.nan, newest)


def _nanmedian(values: np.ndarray) -> np.ndarray:
    return _quantiles(values, np.array([0.5]))[:, 0]


def _quantiles(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(S, Q) empirical quantiles of (S, M) that pass over NaN; NaN for a row of nothing else."""
    ordered = np.sort(values, axis=1)  # NaN goes last
    count = (~np.isnan(ordered)).sum(axis=1)[:, None]
    position = np.maximum(count - 1, 0) * levels
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    if not ordered.shape[1]:
        return np.full((len(values), len(levels)), np.nan)
    below, above = (np.take_along_axis(ordered, i, axis=1) for i in (low, high))
    return below + (above - below) * (position - low)
