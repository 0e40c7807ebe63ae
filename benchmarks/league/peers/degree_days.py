"""Regression of daily gas demand on heating degree days, as gas engineers use it, with and without error correction.

A building cools slowly. So the temperature of a day has half of the weight, and that of the days before the other half.
The composite weather variable of the British network code does the same. The base temperature is the one that fits.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import numpy as np

from benchmarks.league.panel import LEVELS, Panel
from benchmarks.league.tasks import Task

_TEMPERATURE = "temperature"


def settings(peer: str, task: Task) -> dict[str, Any]:
    """Return the settings: a fit every week on the last three years, errors of the last year for the quantiles."""
    return {
        "model": "level, degree days, weekday, holiday, season", "corrected": peer == "degree-days-corrected",
        "bases": list(range(8, 23)), "memory": 0.5, "days": 1096, "error_days": 365, "refit_every": 7,
    }  # fmt: skip


def forecast(panel: Panel, settings: dict[str, Any]) -> np.ndarray:
    """Return the quantiles, shape (S, I, H, Q)."""
    return np.stack([_forecast_series(panel, row, settings) for row in range(len(panel.series))])


def _forecast_series(panel: Panel, row: int, settings: dict[str, Any]) -> np.ndarray:
    target, horizon = panel.target[row], panel.horizon
    designs = _designs(panel, row, settings)
    out = np.empty((len(panel.origins), horizon, len(LEVELS)))
    for number, origin in enumerate(panel.origins):
        past = np.arange(max(0, origin - settings["days"]), origin)
        past = past[~np.isnan(target[past])]
        if number % settings["refit_every"] == 0:
            fits = (_fit(design[past], target[past], design) for design in designs)
            _, design, weights = min(fits, key=itemgetter(0))
        fitted = design @ weights
        errors = target - fitted
        share = _autocorrelation(errors[past]) if settings["corrected"] else 0.0
        for step in range(horizon):
            persistence = share ** (step + 1)
            recent = past[-settings["error_days"] :]
            recent = recent[recent > step]
            left = errors[recent] - persistence * errors[recent - step - 1]
            centre = fitted[origin + step] + persistence * errors[past[-1]]
            out[number, step] = centre + np.nanquantile(left, LEVELS)
    return out


def _designs(panel: Panel, row: int, settings: dict[str, Any]) -> list[np.ndarray]:
    """Return the regressors of all days for each base temperature, each of shape (N, F)."""
    days = panel.grid.dates(panel.first + np.arange(panel.target.shape[1]))
    weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    angle = 2 * np.pi * days.astype(np.int64) / 365.25
    shared = [
        np.ones(len(days)), *(weekday == day for day in range(1, 7)), panel.grid.is_holiday(days), np.cos(angle),
        np.sin(angle),
    ]  # fmt: skip
    effective = _effective(panel.known[row, :, panel.names.index(_TEMPERATURE)], settings["memory"])
    return [np.stack([*shared, np.maximum(base - effective, 0)], axis=1) for base in settings["bases"]]


def _effective(temperature: np.ndarray, memory: float) -> np.ndarray:
    """Return the exponentially smoothed temperature. A missing value counts as that of the day before."""
    out = np.empty_like(temperature)
    state = float(np.nanmean(temperature))
    for day, value in enumerate(temperature):
        state = state if np.isnan(value) else memory * state + (1 - memory) * value
        out[day] = state
    return out


def _fit(x: np.ndarray, y: np.ndarray, design: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    weights = np.linalg.lstsq(x, y, rcond=None)[0]
    return float(((y - x @ weights) ** 2).sum()), design, weights


def _autocorrelation(errors: np.ndarray) -> float:
    """Return the share of an error that is left the day after, between 0 and 1."""
    share = float(errors[1:] @ errors[:-1] / max(float(errors @ errors), 1e-12))
    return min(max(share, 0.0), 1.0)
