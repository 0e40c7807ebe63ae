"""Promotion: retraining is normal, serving is earned on issue times that no candidate has seen.

The challenger meets the incumbent: the champion, or the baseline while there is none. docs/promotion.md states the
rule, with formulas and sources.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from model.comparison import BASELINE, CHALLENGER, CHAMPION, Comparison

FEWEST_NIGHTS = 5
_SIGNIFICANCE = 0.05
_MOST_GROUPS = 300  # series tested one by one; more are pooled
_POOLS = 10


class DieboldMariano(NamedTuple):
    """A test of equal loss. `statistic` is corrected for small samples, `uncorrected` as of 1995.

    Positive statistics speak against the first candidate. The one-sided p-values are those of its mean loss being
    lower (`better`) and higher (`worse`).
    """

    statistic: float
    uncorrected: float
    better: float
    worse: float
    nights: int
    overlap: int

    def figures(self) -> dict[str, float | int | None]:
        """For the manifest; None for a statistic that is not finite."""
        return {name: _finite(value) for name, value in self._asdict().items()}


@dataclass(frozen=True)
class Decision:
    """Whether the challenger serves from now on, why in a sentence with the figures, and the figures by name."""

    promoted: bool
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {"promoted": self.promoted, "reason": self.reason, **self.figures}


def diebold_mariano(difference: np.ndarray, overlap: int) -> DieboldMariano:
    """Test whether the mean of loss differentials is zero.

    Diebold and Mariano (1995), with the correction and the Student's t of Harvey, Leybourne and Newbold (1997). The
    variance is Bartlett's (Newey and West 1987), which cannot be negative.

    Args:
        difference: (N,) loss of the first candidate less that of the second, a night each, in order.
        overlap: nights that one horizon reaches over: differentials so far apart may correlate. Counted up to half
            of the nights, since the correction has no meaning for more.
    """
    from scipy.special import stdtr  # of the training extra: the nightly forecast does without

    count = len(difference)
    overlap = max(1, min(overlap, count // 2))
    mean = float(difference.mean()) if count else math.nan
    centred = difference - mean
    covariance = [float(centred[lag:] @ centred[: count - lag]) / max(count, 1) for lag in range(overlap)]
    variance = covariance[0] + 2 * sum((1 - lag / overlap) * covariance[lag] for lag in range(1, overlap))
    # Rounding makes constant differentials vary by some 1e-16 of themselves.
    if count < 2 or not variance > (1e-12 * abs(mean)) ** 2:
        statistic = 0.0 if count < 2 or mean == 0 else math.copysign(math.inf, mean)
        uncorrected = statistic
    else:
        uncorrected = mean / math.sqrt(variance / count)
        statistic = uncorrected * math.sqrt((count + 1 - 2 * overlap + overlap * (overlap - 1) / count) / count)
    better, worse = (float(stdtr(max(count - 1, 1), side * statistic)) for side in (1, -1))
    return DieboldMariano(statistic, uncorrected, better, worse, count, overlap)


def holm(p_values: np.ndarray) -> np.ndarray:
    """(G,) p-values adjusted so that all tests together err at the level of one (Holm 1979)."""
    order = np.argsort(p_values)
    left = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * left), 1.0)
    return adjusted


def decide(comparison: Comparison, margin: float) -> Decision:
    """Promote or refuse the challenger.

    Args:
        comparison: challenger, baseline and, where one serves, champion on the same unseen nights.
        margin: relative improvement of the mean pinball asked of the challenger over the champion.
    """
    scores = comparison.scores()
    if comparison.fault:
        return Decision(False, f"refused: {comparison.fault}", {"folds": comparison.nights})
    if comparison.nights < FEWEST_NIGHTS:
        return Decision(
            False,
            f"refused: only {comparison.nights} unseen nights have a value to judge by; {FEWEST_NIGHTS} are needed",
            {"folds": comparison.nights},
        )
    incumbent = CHAMPION if CHAMPION in scores else BASELINE
    overall = diebold_mariano(comparison.difference(incumbent), comparison.overlap)
    groups = _groups(comparison, incumbent)
    worst = _worst_series(comparison, incumbent)
    figures = {
        "folds": comparison.nights,
        "p_value": overall.better,
        "coverage_80": {name: _finite(score["coverage_80"]) for name, score in scores.items()},
        "worst_series": worst,
        "tests": {
            "incumbent": incumbent,
            "overall": overall.figures(),
            "baseline": diebold_mariano(comparison.difference(BASELINE), comparison.overlap).figures(),
            "groups": groups,
        },
    }
    score, bar = scores[CHALLENGER]["pinball"], scores[BASELINE]["pinball"]
    said = f"pinball {score:.6g} on {comparison.nights} unseen nights"
    against = f"{_change(score, bar)} the baseline's {bar:.6g}"
    if incumbent == CHAMPION:
        serving = scores[CHAMPION]["pinball"]
        against = f"{_change(score, serving)} the champion's {serving:.6g} (p = {overall.better:.2g}) and {against}"
    tail = f"; worst series {worst['series_id']!r}, {_change(worst['pinball'], worst[incumbent])} the {incumbent}'s"
    bad = [group for group in groups if group["p_value"] < _SIGNIFICANCE]
    if not score < bar:
        return Decision(False, f"refused: {said} does not beat the baseline: {against}{tail}", figures)
    if incumbent == CHAMPION and not (score < serving and score <= serving * (1 - margin)):
        asked = f" by the margin of {margin:.1%}" if margin else ""
        return Decision(False, f"refused: {said} does not beat the champion{asked}: {against}{tail}", figures)
    if bad:
        named = min(bad, key=lambda group: group["p_value"])
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        why = f"{named['group']}{more} significantly worse than the {incumbent}'s (p = {named['p_value']:.2g})"
        return Decision(False, f"refused: {why}, though {said} is {against}{tail}", figures)
    return Decision(True, f"promoted: {said}, {against}{tail}, no group significantly worse", figures)


def too_few(fair: int, held_out: int, seen_to: dict[str, str]) -> Decision:
    """Refuse for want of nights that nobody has seen.

    Args:
        fair, held_out: nights that no candidate has seen, of how many.
        seen_to: the latest end of what each candidate was fitted or early-stopped on.
    """
    seen = " and ".join(f"the {name} has seen data up to {until}" for name, until in seen_to.items())
    return Decision(
        False,
        f"refused: {fair} of {held_out} held-out nights are unseen by every candidate, {FEWEST_NIGHTS} are needed; "
        f"{seen}",
        {"folds": fair},
    )


def _groups(comparison: Comparison, incumbent: str) -> list[dict[str, Any]]:
    """One-sided tests that the challenger is worse, a group each, with p-values adjusted for their number."""
    judged = np.flatnonzero(comparison.count.sum(axis=0) > 0)
    if len(judged) <= _MOST_GROUPS:
        members = {f"series {comparison.series[i]!r}": judged[k : k + 1] for k, i in enumerate(judged)}
    else:
        by_level = judged[np.argsort(comparison.level[judged], kind="stable")]
        pools = np.array_split(by_level, _POOLS)
        members = {f"tenth {k} of {_POOLS} by level": np.sort(pool) for k, pool in enumerate(pools, start=1)}
    tests = [diebold_mariano(comparison.difference(incumbent, rows), comparison.overlap) for rows in members.values()]
    adjusted = holm(np.array([test.worse for test in tests]))
    return [
        {"group": name, "series": len(rows), "p_value": float(p), "statistic": _finite(test.statistic)}
        for (name, rows), test, p in zip(members.items(), tests, adjusted, strict=True)
    ]


def _worst_series(comparison: Comparison, incumbent: str) -> dict[str, Any]:
    """The series whose mean pinball rose most, relative to the incumbent's."""
    mine, theirs = (comparison.by_series(name) for name in (CHALLENGER, incumbent))
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(mine == theirs, 1.0, mine / theirs)  # both may be nil
    row = int(np.nanargmax(np.where(np.isnan(mine), np.nan, change)))
    return {"series_id": comparison.series[row], "pinball": float(mine[row]), incumbent: float(theirs[row])}


def _change(score: float, bar: float) -> str:
    if score == bar:
        return "equal to"
    if bar == 0:
        return "above"
    return f"{abs(score / bar - 1):.1%} {'below' if score < bar else 'above'}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
