"""LightGBM: one model per quantile level over all series and steps, with the step and the series as features.

Loads and prices are divided by the series' mean magnitude before the test period. Closes are forecast as log returns
since the last close, because trees cannot forecast a level outside their training data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.league.panel import LEVELS, Panel
from benchmarks.league.tasks import Task

#: Days of the mean of the same time of day.
_MEAN_DAYS = 7


def settings(peer: str, task: Task) -> dict[str, Any]:
    """Return the settings: a retrain every 90 days, with the number of trees chosen on eight weeks before the test."""
    return {
        "features": 1, "retrain_every_days": 90, "held_out_issues": 56, "most_trees": 1000, "patience": 50,
        "rows_per_tree": 150_000,
        "lightgbm": {
            "objective": "quantile", "learning_rate": 0.05, "num_leaves": 63, "min_data_in_leaf": 50,
            "feature_fraction": 0.8, "bagging_freq": 1, "seed": 7, "deterministic": True, "force_row_wise": True,
            "num_threads": 1, "verbosity": -1,
        },
    }  # fmt: skip


def quick_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with a few dozen trees on fewer rows."""
    return {**settings, "most_trees": 40, "rows_per_tree": 10_000}


def forecast(panel: Panel, settings: dict[str, Any]) -> np.ndarray:
    """Return the quantiles, shape (S, I, H, Q), sorted so that they do not cross."""
    every = settings["retrain_every_days"]
    is_market = panel.season == 1
    features = _market if is_market else _seasonal
    count, horizon = len(panel.series), panel.horizon
    train_origins = _train_origins(panel)
    days = (panel.issues - panel.issues[0]) // 86_400_000_000
    out = np.empty((count, len(panel.origins), horizon, len(LEVELS)))
    trees: list[int] | None = None
    x, y = features(panel, train_origins)
    for block in np.unique(days // every):
        issues = np.flatnonzero(days // every == block)
        known = train_origins + horizon <= panel.origins[issues[0]]
        known_x, known_y = x[:, known].reshape(-1, x.shape[-1]), y[:, known].reshape(-1)
        inputs = features(panel, panel.origins[issues])[0]
        if trees is None:
            held_out = np.zeros(known.sum(), bool)
            held_out[-settings["held_out_issues"] :] = True
            held_out = np.broadcast_to(held_out[None, :, None], (count, known.sum(), horizon)).reshape(-1)
            trees = [_count_trees(known_x, known_y, held_out, level, settings) for level in LEVELS]
        for number, level in enumerate(LEVELS):
            model = _fit(known_x, known_y, level, trees[number], settings)
            values = model.predict(inputs.reshape(-1, inputs.shape[-1])).reshape(count, len(issues), horizon)
            out[:, issues[0] : issues[-1] + 1, :, number] = values
    last = panel.filled()[:, panel.origins - 1][:, :, None, None]
    out = last * np.exp(out) if is_market else out * _magnitude(panel)[:, None, None, None]
    return np.sort(out, axis=-1)


def _train_origins(panel: Panel) -> np.ndarray:
    """Return the columns of possible origins, one per day, that have enough history."""
    back = panel.context if panel.season == 1 else 2 * panel.season
    origins = np.concatenate([panel.daily_origins, panel.origins])
    usable: np.ndarray = origins[(origins >= back) & (origins + panel.horizon <= panel.target.shape[1])]
    return usable


def _magnitude(panel: Panel) -> np.ndarray:
    """Return the mean absolute value before the test period, shape (S,)."""
    mean: np.ndarray = np.nanmean(np.abs(panel.target[:, : panel.origins[0]]), axis=1)
    return mean


def _seasonal(panel: Panel, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features, shape (S, I, H, F), and targets, shape (S, I, H).

    Every feature of the target lies before its origin.
    """
    per_day, horizon = panel.grid.steps_per_day, panel.horizon
    filled = panel.filled() / _magnitude(panel)[:, None]
    steps = origins[:, None] + np.arange(horizon)
    count = len(panel.series)
    shape = (count, *steps.shape)
    columns = [np.broadcast_to(np.arange(count)[:, None, None], shape), np.broadcast_to(np.arange(horizon), shape)]
    # Lags: the same time of day 1, 2, 3, 7, 8 and 14 days before, if known at the origin. Daily data use the last 7
    # days instead.
    lags = [lag * per_day for lag in (1, 2, 3, 7, 8, 14)] if per_day > 1 else [7, 14]
    columns += [filled[:, steps - lag] for lag in lags if lag >= horizon]
    recent = range(1, 8) if per_day == 1 else (1, 2, per_day // 2)
    columns += [np.broadcast_to(filled[:, origins - lag][:, :, None], shape) for lag in recent]
    # Means of the last day, week and two weeks, and of the same time of day over a week.
    sums = np.concatenate([np.zeros((count, 1)), np.nancumsum(filled, axis=1)], axis=1)
    for days in (1, 7, 14):
        mean = (sums[:, origins] - sums[:, origins - days * per_day]) / (days * per_day)
        columns.append(np.broadcast_to(mean[:, :, None], shape))
    if per_day > 1:
        first = -(-horizon // per_day)
        columns.append(np.mean([filled[:, steps - day * per_day] for day in range(first, first + _MEAN_DAYS)], axis=0))
    columns += [panel.known[:, steps, f] for f in range(panel.known.shape[2])]
    # Covariates at the lagged steps, and their mean over the horizon.
    for f in range(len(panel.task.covariates)):
        columns += [panel.known[:, steps - lag, f] for lag in dict.fromkeys([lags[0], 7 * per_day])]
        columns.append(np.broadcast_to(panel.known[:, steps, f].mean(axis=2)[..., None], shape))
    return np.stack(columns, axis=-1).astype(np.float32), (panel.target / _magnitude(panel)[:, None])[:, steps]


def _market(panel: Panel, origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same for closes: returns, their means, volatility and calendar; targets are log returns."""
    horizon = panel.horizon
    logs = np.log(panel.filled())
    returns = np.diff(logs, axis=1, prepend=logs[:, :1])
    steps = origins[:, None] + np.arange(horizon)
    count = len(panel.series)
    shape = (count, *steps.shape)
    columns = [np.broadcast_to(np.arange(count)[:, None, None], shape), np.broadcast_to(np.arange(horizon), shape)]
    back = [returns[:, origins - lag] for lag in range(1, 6)]
    for days in (5, 20, panel.context):
        window = returns[:, origins[:, None] - 1 - np.arange(days)]
        back += [window.mean(axis=-1), window.std(axis=-1), np.abs(window).max(axis=-1)]
        back.append(logs[:, origins - 1] - logs[:, origins[:, None] - 1 - np.arange(days)].mean(axis=-1))
    columns += [np.broadcast_to(column[:, :, None], shape) for column in back]
    columns += [panel.known[:, steps, f] for f in range(panel.known.shape[2])]
    return np.stack(columns, axis=-1).astype(np.float32), np.log(panel.target)[:, steps] - logs[:, origins - 1][
        :, :, None
    ]


def _fit(x: np.ndarray, y: np.ndarray, level: float, trees: int, settings: dict[str, Any]) -> Any:
    import lightgbm

    return lightgbm.train(_parameters(y, level, settings), _data(x, y), num_boost_round=trees)


def _count_trees(x: np.ndarray, y: np.ndarray, held_out: np.ndarray, level: float, settings: dict[str, Any]) -> int:
    """Return the number of trees that is best on the held-out issue times."""
    import lightgbm

    train = _data(x[~held_out], y[~held_out])
    booster = lightgbm.train(
        _parameters(y, level, settings), train, settings["most_trees"],
        valid_sets=[_data(x[held_out], y[held_out], train)],
        callbacks=[lightgbm.early_stopping(settings["patience"], verbose=False)],
    )  # fmt: skip
    return int(booster.best_iteration)


def _parameters(y: np.ndarray, level: float, settings: dict[str, Any]) -> dict[str, Any]:
    share = min(0.8, settings["rows_per_tree"] / len(y))
    return {**settings["lightgbm"], "alpha": float(level), "bagging_fraction": share}


def _data(x: np.ndarray, y: np.ndarray, like: Any = None) -> Any:
    import lightgbm

    known = ~np.isnan(y)
    return lightgbm.Dataset(x[known], y[known], categorical_feature=[0], reference=like, free_raw_data=False)
