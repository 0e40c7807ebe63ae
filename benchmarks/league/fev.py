"""The day-ahead prices by the protocol of fev-bench (Shchur et al. 2025), from the same forecasts.

20 windows of 24 hours that follow each other, the last of the data; of each, losses divided by the in-sample seasonal
naive MAE at season 24 over everything before the window; the mean over windows. That its seasonal naive comes out as
published (MASE 1.761, 1.027, 0.850) says that these are the same windows.
"""

from __future__ import annotations

import numpy as np

from benchmarks.league.panel import LEVELS, Panel
from model.evaluation import metrics

WINDOWS, SEASON = 20, 24
#: Published: MASE of the seasonal naive, scaled quantile loss of Chronos-2.
SEASONAL_NAIVE = {"price-np": 1.761, "price-be": 1.027, "price-fr": 0.850}
CHRONOS_2 = {"price-np": 0.658, "price-be": 0.503, "price-fr": 0.362}


def scores(panel: Panel, quantiles: np.ndarray) -> tuple[float, float]:
    """Scaled quantile loss and MASE of (S, I, H, Q) quantiles on the last windows."""
    actual = panel.actual()[:, -WINDOWS:]
    last = quantiles[:, -WINDOWS:]
    scale = np.stack([_scale(panel, origin) for origin in panel.origins[-WINDOWS:]], axis=1)[..., None]
    loss = 2 * metrics.pinball(last, LEVELS, actual) / scale
    return float(loss.mean()), float((metrics.absolute_error(last, LEVELS, actual) / scale).mean())


def seasonal_naive(panel: Panel) -> np.ndarray:
    """(S, I, H, Q) the value of the day before, at every level."""
    at = panel.origins[:, None] + np.arange(panel.horizon) - SEASON
    return np.repeat(panel.target[:, at][..., None], len(LEVELS), axis=-1)


def _scale(panel: Panel, origin: int) -> np.ndarray:
    past = panel.target[:, :origin]
    return np.nanmean(np.abs(past[:, SEASON:] - past[:, :-SEASON]), axis=1)
