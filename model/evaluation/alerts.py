"""Alerts: scores of the newest issue times that are worse than allowed, and by more than chance.

A check raises an alert if its figure over the window is beyond the limit, and if the single issue times agree. Each
issue time gives one number that is above zero if it was worse than the limit. Their mean must be above zero by
`evidence` standard errors (model/evaluation/evidence.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.evaluation.evidence import standard_errors_above_zero
from model.evaluation.score_sums import ScoreSums
from storage.schemas.records import Alert

CHECKS = ("skill", "coverage", "bias", "drift")
#: Checks that show that the model has become worse. A retrain may help.
DECAY = ("skill", "drift")
_FEWEST_IN_WINDOW = 10  # issue times
_FEWEST_BEFORE = 28  # issue times before the recent ones, for drift
_SERIES_PER_CHECK = 20
_RETRAIN = "check the newest data of the feeds, then train a model on them"


@dataclass(frozen=True)
class Limits:
    """Limits of the scores.

    Attributes:
        window: Time span of the issue times to check.
        recent: Time span of the newest issue times, which drift compares with all earlier ones.
        min_skill: Smallest 1 - pinball / baseline pinball.
        min_coverage: Smallest coverage of the 80% interval.
        max_coverage: Largest coverage of the 80% interval.
        max_bias: Largest absolute mean of error / scale.
        drift: Largest fall of the recent skill below the earlier skill.
        evidence: Standard errors by which a limit must be exceeded.
    """

    window: timedelta
    recent: timedelta
    min_skill: float
    min_coverage: float
    max_coverage: float
    max_bias: float
    drift: float
    evidence: float


class _CheckResult(NamedTuple):
    """Result of one check for S series.

    Attributes:
        name: Name of the check, one of CHECKS.
        evidence: Standard errors by which each series is beyond the limit, NaN without an alert, shape (S,).
        describe: Function from a series' number to a sentence about it.
    """

    name: str
    evidence: NDArray[np.float64]
    describe: Callable[[int], str]


def find_alerts(scores: pl.LazyFrame, limits: Limits) -> list[Alert]:
    """Return the alerts, by check and by evidence.

    Args:
        scores: Score rows of the window, and of earlier issue times to measure drift against.
        limits: Limits of the scores.
    """
    sums = ScoreSums.of(scores)
    if not len(sums.issues):
        return []
    in_window, is_recent = (sums.issues > sums.issues[-1] - _micros(span) for span in (limits.window, limits.recent))
    window = sums.select(in_window)
    results = [_check_skill(window, limits), *_check_coverage(window, limits), _check_bias(window, limits)]
    if (~is_recent).sum() >= _FEWEST_BEFORE:
        results.append(_check_drift(sums.select(~is_recent), sums.select(is_recent), limits))
    return [alert for result in results for alert in _alerts(result, sums.series)]


def _alerts(result: _CheckResult, series: tuple[str, ...]) -> Iterator[Alert]:
    """Yield the alerts of one check: first that of all series together (row 0), then those with the most evidence."""
    alerting = np.flatnonzero(~np.isnan(result.evidence)).tolist()
    rows = sorted(alerting, key=lambda i: (i > 0, -result.evidence[i]))
    for i in rows[:_SERIES_PER_CHECK]:
        yield {"check": result.name, "series_id": series[i] if i else None, "detail": result.describe(i)}
    if len(rows) > _SERIES_PER_CHECK:
        detail = f"{len(rows) - _SERIES_PER_CHECK} more series have this alert, with less evidence"
        yield {"check": result.name, "series_id": None, "detail": detail}


def _check_skill(window: ScoreSums, limits: Limits) -> _CheckResult:
    skill, period = window.skill(), window.period()
    pinball, baseline = window.ratio("compared", "baseline_n"), window.ratio("baseline_pinball", "baseline_n")
    excess = window.excess_pinball(1 - limits.min_skill)
    return _CheckResult(
        "skill",
        _evidence(skill < limits.min_skill, excess, window, limits),
        lambda i: (
            f"{window.series[i]}: skill against the baseline is {skill[i]:.2f} {period}, below min_skill = "
            f"{limits.min_skill:g} (pinball {pinball[i]:.4g}, baseline {baseline[i]:.4g}); {_RETRAIN}"
        ),
    )


def _check_coverage(window: ScoreSums, limits: Limits) -> Iterator[_CheckResult]:
    coverage, by_issue = window.ratio("covered", "covered_n"), window.ratio_by_issue("covered", "covered_n")
    low, high, period = limits.min_coverage, limits.max_coverage, window.period()
    rows = np.fmax(np.nanmean(window.sums["covered_n"], 1), 1)

    def min_variance(limit: float) -> NDArray[np.float64]:
        # The variance of a share is at least that of independent rows at the limit.
        variance: NDArray[np.float64] = np.nan_to_num(limit * (1 - limit) / rows)
        return variance

    yield _CheckResult(
        "coverage",
        _evidence(coverage < low, low - by_issue, window, limits, min_variance(low)),
        lambda i: (
            f"{window.series[i]}: the 80% interval covered {coverage[i]:.0%} of the actuals {period}, below "
            f"coverage.min = {low:g}: the intervals are too narrow or biased; do not plan with them as they are"
        ),
    )
    yield _CheckResult(
        "coverage",
        _evidence(coverage > high, by_issue - high, window, limits, min_variance(high)),
        lambda i: (
            f"{window.series[i]}: the 80% interval covered {coverage[i]:.0%} of the actuals {period}, above "
            f"coverage.max = {high:g}: the intervals are wider than necessary; look for late or missing feeds"
        ),
    )


def _check_bias(window: ScoreSums, limits: Limits) -> _CheckResult:
    bias, period = window.ratio("scaled_error", "scaled_n"), window.period()
    error = np.sign(bias)[:, None] * window.ratio_by_issue("scaled_error", "scaled_n")
    return _CheckResult(
        "bias",
        _evidence(np.abs(bias) > limits.max_bias, error - limits.max_bias, window, limits),
        lambda i: (
            f"{window.series[i]}: the actuals were on average {abs(bias[i]):.2f} seasonal naive errors "
            f"{'above' if bias[i] > 0 else 'below'} the median {period}, more than max_bias = {limits.max_bias:g}; "
            "look for a change of level or unit in the feeds"
        ),
    )


def _check_drift(before: ScoreSums, recent: ScoreSums, limits: Limits) -> _CheckResult:
    skill_before, skill_now = before.skill(), recent.skill()
    allowed = (1 - skill_before + limits.drift)[:, None]
    # The variance is that of the many earlier issue times, because a week is too short to estimate its own.
    evidence = standard_errors_above_zero(
        before.excess_pinball(allowed), before.overlap, limits.evidence, mean_of=recent.excess_pinball(allowed)
    )
    has_enough = (~np.isnan(before.sums["compared"])).sum(axis=1) >= _FEWEST_BEFORE
    return _CheckResult(
        "drift",
        np.where((skill_now < skill_before - limits.drift) & has_enough, evidence, np.nan),
        lambda i: (
            f"{before.series[i]}: skill against the baseline fell from {skill_before[i]:.2f} {before.period()} to "
            f"{skill_now[i]:.2f} {recent.period()}, by more than drift = {limits.drift:g}; {_RETRAIN}"
        ),
    )


def _evidence(
    is_beyond: NDArray[np.bool_],
    excess: NDArray[np.float64],
    window: ScoreSums,
    limits: Limits,
    min_variance: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64]:
    """Return the evidence of the series beyond a limit, NaN without an alert, shape (S,).

    Args:
        is_beyond: Which series are beyond the limit over the whole window, shape (S,).
        excess: By how much each issue time is beyond the limit, shape (S, T).
        window: Scores of the window.
        limits: Limits of the scores.
        min_variance: Lower limit on the variance of `excess`, shape (S,).
    """
    evidence = standard_errors_above_zero(excess, window.overlap, limits.evidence, min_variance)
    has_enough = (~np.isnan(excess)).sum(axis=1) >= _FEWEST_IN_WINDOW
    return np.where(is_beyond & has_enough, evidence, np.nan)


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
