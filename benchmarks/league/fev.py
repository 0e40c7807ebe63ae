"""Day-ahead prices by the protocol of fev-bench (Shchur et al. 2025), from the same forecasts.

The protocol has 20 adjacent windows of 24 hours at the end of the data. The losses of each are divided by the in-sample
seasonal naive MAE at season 24 over everything before the window, and averaged over windows. The seasonal naive has its
published MASE (1.761, 1.027, 0.850), which shows that the windows are the same.
"""

from __future__ import annotations

import numpy as np

from benchmarks.league.losses import Losses
from benchmarks.league.panel import LEVELS, Panel

WINDOWS, SEASON = 20, 24
#: Published MASE of the seasonal naive.
SEASONAL_NAIVE = {"price-np": 1.761, "price-be": 1.027, "price-fr": 0.850}
#: Published scaled quantile loss of Chronos-2.
CHRONOS_2 = {"price-np": 0.658, "price-be": 0.503, "price-fr": 0.362}


def scores(panel: Panel, losses: Losses) -> tuple[float, float]:
    """Return the scaled quantile loss and the MASE of the last windows, NaN if a row of them is missing."""
    window_scale = np.stack([_scale(panel, origin) for origin in panel.origins[-WINDOWS:]], axis=1)
    is_complete = losses.scored[:, -WINDOWS:].sum(axis=-1) == panel.horizon
    factor = np.where(is_complete, panel.scale()[:, None] / window_scale / panel.horizon, np.nan)
    pinball, error = (
        (sums[:, -WINDOWS:].sum(axis=-1) * factor).mean() for sums in (losses.pinball, losses.absolute_error)
    )
    return float(2 * pinball), float(error)


def seasonal_naive(panel: Panel) -> np.ndarray:
    """Return the value of the day before at every level, shape (S, I, H, Q)."""
    columns = panel.origins[:, None] + np.arange(panel.horizon) - SEASON
    return np.repeat(panel.target[:, columns][..., None], len(LEVELS), axis=-1)


def _scale(panel: Panel, origin: int) -> np.ndarray:
    past = panel.target[:, :origin]
    mean: np.ndarray = np.nanmean(np.abs(past[:, SEASON:] - past[:, :-SEASON]), axis=1)
    return mean
