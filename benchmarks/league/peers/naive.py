"""Rules without a fit: the seasonal naive and, for markets, the random walk, with empirical quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.league.panel import LEVELS, Panel
from benchmarks.league.tasks import Task
from model.baseline import history_steps, seasonal_naive


def settings(peer: str, task: Task) -> dict[str, Any]:
    """Return the rule and the number of past steps that its errors are taken from."""
    season, context = task.pipeline_table["season"], task.pipeline_table["context"]
    if peer == "random-walk":
        return {"rule": peer, "returns": 1000}
    return {"rule": peer, "season": season, "history": history_steps(season, context)}


def forecast(panel: Panel, settings: dict[str, Any]) -> np.ndarray:
    """Return the quantiles, shape (S, I, H, Q)."""
    rule = _random_walk if settings["rule"] == "random-walk" else _seasonal
    return np.stack([rule(panel, origin, settings) for origin in panel.origins], axis=1)


def _seasonal(panel: Panel, origin: int, settings: dict[str, Any]) -> np.ndarray:
    past = panel.target[:, max(0, origin - settings["history"]) : origin]
    return seasonal_naive(past, settings["season"], panel.horizon, LEVELS)


def _random_walk(panel: Panel, origin: int, settings: dict[str, Any]) -> np.ndarray:
    """Return the last value times the exponential of the quantiles of log returns over as many days."""
    past = np.log(panel.filled()[:, max(0, origin - settings["returns"]) : origin])
    out = [
        past[:, -1:] + np.nanquantile(past[:, h:] - past[:, :-h], LEVELS, axis=1).T for h in range(1, panel.horizon + 1)
    ]
    quantiles: np.ndarray = np.exp(np.stack(out, axis=1))
    return quantiles
