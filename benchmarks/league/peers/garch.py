"""GARCH(1,1) with Student's t innovations on the log returns of each series, and quantiles of simulated paths."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from benchmarks.league.panel import LEVELS, Panel
from benchmarks.league.tasks import Task


def settings(peer: str, task: Task) -> dict[str, Any]:
    """Return the settings: a refit every 20 issue times on the last ten years, and new paths at each issue time."""
    return {"model": "constant mean, GARCH(1,1), t", "returns": 2520, "refit_every": 20, "paths": 10_000, "seed": 7}


def forecast(panel: Panel, settings: dict[str, Any]) -> np.ndarray:
    """Return the quantiles, shape (S, I, H, Q)."""
    rng = np.random.default_rng(settings["seed"])
    return np.stack([_forecast_series(panel, row, settings, rng) for row in range(len(panel.series))])


def _forecast_series(panel: Panel, row: int, settings: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    from arch import arch_model

    out = np.empty((len(panel.origins), panel.horizon, len(LEVELS)))
    for number, origin in enumerate(panel.origins):
        past = panel.target[row, :origin]
        past = past[~np.isnan(past)]
        returns = 100 * np.diff(np.log(past))[-settings["returns"] :]
        model = arch_model(returns, mean="Constant", vol="GARCH", p=1, q=1, dist="t", rescale=False)
        if number % settings["refit_every"] == 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parameters = model.fit(disp="off", show_warning=False).params
        mean, omega, alpha, beta, degrees = parameters
        volatility = float(model.fix(parameters).conditional_volatility[-1])
        shape = (settings["paths"], panel.horizon)
        noise = rng.standard_t(degrees, shape) * np.sqrt((degrees - 2) / degrees)  # scaled to variance 1, as in arch
        variance = np.full(shape[0], omega + alpha * (returns[-1] - mean) ** 2 + beta * volatility**2)
        paths = np.zeros(shape)
        for step in range(panel.horizon):
            shock = np.sqrt(variance) * noise[:, step]
            paths[:, step] = mean + shock
            variance = omega + alpha * shock**2 + beta * variance
        out[number] = past[-1] * np.exp(np.quantile(paths.cumsum(axis=1), LEVELS, axis=0).T / 100)
    return out
