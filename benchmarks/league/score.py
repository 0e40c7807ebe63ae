"""Scores of forecasts from their losses, and the test of which one is better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.league.losses import Losses
from benchmarks.league.panel import Panel
from model.evaluation.significance import DieboldMariano, diebold_mariano


@dataclass(frozen=True)
class Score:
    """Scores of one forecaster on one task. Every series has the same weight.

    Attributes:
        rows: Number of forecast rows with a known actual.
        missing: Number of those rows without a forecast. The means leave them out.
        pinball: Mean over the nine levels, each series divided by its seasonal naive MAE before the test period.
        mase: Mean absolute error of the median, divided by the same.
        mae: Mean absolute error in the target's unit. Comparable only where all series have the same unit.
        coverage_80: Share of actuals inside the 80% interval.
        by_block: Pinball by step block, shape (B,).
        by_issue_time: Pinball by issue time, shape (I,), NaN where nothing is known.
    """

    rows: int
    missing: int
    pinball: float
    mase: float
    mae: float
    coverage_80: float
    by_block: np.ndarray
    by_issue_time: np.ndarray


def score(panel: Panel, losses: Losses) -> Score:
    """Return the scores of losses. Rows without a forecast are counted and left out of the means."""
    scored = losses.scored
    errors = losses.absolute_error * panel.scale()[:, None, None]
    return Score(
        rows=int(scored.sum() + losses.missing.sum()),
        missing=int(losses.missing.sum()),
        pinball=float(_means(losses.pinball, scored, (1, 2))),
        mase=float(_means(losses.absolute_error, scored, (1, 2))),
        mae=float(_means(errors, scored, (1, 2))),
        coverage_80=float(_means(losses.covered, scored, (1, 2))),
        by_block=_means(losses.pinball, scored, (1,)),
        by_issue_time=_means(losses.pinball, scored, (2,)),
    )


def compare(panel: Panel, ours: Score, theirs: Score) -> DieboldMariano:
    """Test whether two forecasters have equal pinball over the issue times.

    Losses of neighbouring issue times correlate, because horizons overlap and because of the weather. The lags are the
    issue times that a horizon overlaps, or the rule of thumb of Newey and West (1994) if that is more.
    """
    difference = ours.by_issue_time - theirs.by_issue_time
    difference = difference[~np.isnan(difference)]
    overlap = -(-panel.horizon // panel.grid.steps_per_day)
    return diebold_mariano(difference, max(overlap, 1 + int(4 * (len(difference) / 100) ** (2 / 9))))


def _means(sums: np.ndarray, counts: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the mean over series of each series' mean over `axes` of (S, I, B), NaN where nothing is known."""
    with np.errstate(invalid="ignore"):
        means = sums.sum(axis=axes) / counts.sum(axis=axes)
        known = ~np.isnan(means)
        mean: np.ndarray = np.where(known, means, 0).sum(axis=0) / known.sum(axis=0)
    return mean
