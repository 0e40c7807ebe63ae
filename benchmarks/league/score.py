"""Who is better: losses of forecasts on a panel, always computed afresh from the quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.league.panel import LEVELS, Panel
from model.evaluation import metrics
from model.evaluation.significance import DieboldMariano, diebold_mariano


@dataclass(frozen=True)
class Score:
    """Of one forecaster on one task. Every series weighs the same.

    Attributes:
        rows, missing: forecast rows whose actual is known, and those among them that it has no forecast of.
        pinball: mean over the nine levels, each series divided by its seasonal naive MAE before the test period.
        mase: mean absolute error of the median, divided by the same.
        mae: the same undivided, in the target's unit: of use where all series have the same one.
        coverage_80: share of actuals within the 80% interval.
        by_step: (H,) pinball by lead time.
        nights: (I,) pinball by issue time, NaN where nothing is known.
    """

    rows: int
    missing: int
    pinball: float
    mase: float
    mae: float
    coverage_80: float
    by_step: np.ndarray
    nights: np.ndarray


def score(panel: Panel, quantiles: np.ndarray) -> Score:
    """Judge (S, I, H, Q) quantiles; a row without a forecast is counted, and left out of the means."""
    actual = panel.actual()
    known = ~np.isnan(actual)
    there = np.isfinite(quantiles).all(axis=-1)
    actual = np.where(there, actual, np.nan)
    scale = panel.scale()[:, None, None]
    pinball = metrics.pinball(quantiles, LEVELS, actual) / scale
    error = metrics.absolute_error(quantiles, LEVELS, actual)
    return Score(
        int(known.sum()), int((known & ~there).sum()), _mean(pinball), _mean(error / scale), _mean(error),
        _mean(metrics.covered(quantiles, LEVELS, actual)), _over(pinball, 1), _over(pinball, 2),
    )  # fmt: skip


def compare(panel: Panel, ours: Score, theirs: Score) -> DieboldMariano:
    """Test of equal pinball by night. Losses of neighbouring nights correlate: horizons overlap, and so does weather.

    Lags counted: the nights that a horizon reaches over, or Newey and West's (1994) rule of thumb if more.
    """
    apart = ours.nights - theirs.nights
    apart = apart[~np.isnan(apart)]
    overlap = -(-panel.horizon // panel.grid.steps_per_day)
    return diebold_mariano(apart, max(overlap, 1 + int(4 * (len(apart) / 100) ** (2 / 9))))


def _mean(cells: np.ndarray) -> float:
    """Of (S, I, H): the mean of the series' means."""
    return float(np.mean(np.nanmean(cells, axis=(1, 2))))


def _over(cells: np.ndarray, keep: int) -> np.ndarray:
    """The mean of the series' means along axis 1 (by step) or 2 (by night); NaN where nothing is known."""
    seen = ~np.isnan(cells)
    with np.errstate(invalid="ignore"):
        means = np.where(seen, cells, 0).sum(axis=keep) / seen.sum(axis=keep)
    known = ~np.isnan(means)
    with np.errstate(invalid="ignore"):
        return np.where(known, means, 0).sum(axis=0) / known.sum(axis=0)
