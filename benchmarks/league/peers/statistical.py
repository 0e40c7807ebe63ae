"""AutoETS of statsforecast, and its MSTL for data with more than one season, fitted at every issue time."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from benchmarks.league.panel import LEVELS, Panel
from benchmarks.league.tasks import Task


def settings(peer: str, task: Task) -> dict[str, Any]:
    """Return the seasons and the history of each fit: two years of days, or ten weeks of finer steps."""
    season = task.pipeline_table["season"]
    if peer == "auto-ets":
        is_market = season == 1
        return {"model": peer, "season": season, "history": 500 if is_market else 728, "log": is_market}
    return {
        "model": peer,
        "seasons": [season // 7, season],
        "trend": "AutoETS ZZN",
        "history": 10 * season,
        "log": False,
    }


def forecast(panel: Panel, settings: dict[str, Any]) -> np.ndarray:
    """Return the quantiles, shape (S, I, H, Q). The mean is used as the median, since intervals are symmetric."""
    from statsforecast.models import MSTL, AutoETS

    values = np.log(panel.filled()) if settings["log"] else panel.filled()
    horizon = panel.horizon
    out = np.empty((len(panel.series), len(panel.origins), horizon, len(LEVELS)))
    intervals = [20, 40, 60, 80]
    for row in range(len(panel.series)):
        for number, origin in enumerate(panel.origins):
            past = values[row, max(0, origin - settings["history"]) : origin]
            past = np.ascontiguousarray(past[~np.isnan(past)])
            if settings["model"] == "auto-ets":
                model = AutoETS(season_length=settings["season"])
            else:
                model = MSTL(season_length=settings["seasons"], trend_forecaster=AutoETS(model="ZZN"))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                forecast_ = model.forecast(y=past, h=horizon, level=intervals)
            below = [forecast_[f"lo-{width}"] for width in reversed(intervals)]
            above = [forecast_[f"hi-{width}"] for width in intervals]
            out[row, number] = np.stack([*below, forecast_["mean"], *above], axis=1)
    return np.exp(out) if settings["log"] else out
