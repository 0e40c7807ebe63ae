"""statsforecast: AutoETS, and MSTL where there is more than one season. Fitted anew at every issue time."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from benchmarks.league.panel import LEVELS, Panel
from benchmarks.league.tasks import Task


def settings(peer: str, task: Task) -> dict[str, Any]:
    """Seasons, and the history that each fit sees: two years of days, ten weeks of finer steps."""
    season = task.pipeline_table["season"]
    if peer == "auto-ets":
        market = season == 1
        return {"model": peer, "season": season, "history": 500 if market else 728, "log": market}
    return {
        "model": peer,
        "seasons": [season // 7, season],
        "trend": "AutoETS ZZN",
        "history": 10 * season,
        "log": False,
    }


def forecast(panel: Panel, settings: dict[str, Any]) -> np.ndarray:
    """(S, I, H, Q). Intervals are symmetric about the mean, which stands for the median."""
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
                said = model.forecast(y=past, h=horizon, level=intervals)
            below = [said[f"lo-{width}"] for width in reversed(intervals)]
            above = [said[f"hi-{width}"] for width in intervals]
            out[row, number] = np.stack([*below, said["mean"], *above], axis=1)
    return np.exp(out) if settings["log"] else out
