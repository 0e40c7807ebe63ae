"""Promotion: retraining is normal, serving is earned on issue times that no candidate has seen.

The challenger meets the incumbent: the champion, or the baseline while there is none. docs/promotion.md states the
rule, with formulas and sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model.evaluation.comparison import BASELINE, CHALLENGER, CHAMPION, Comparison
from model.evaluation.significance import diebold_mariano, finite, holm

MIN_ISSUE_TIMES = 5
_SIGNIFICANCE = 0.05
_MOST_GROUPS = 300  # series tested one by one; more are pooled
_POOLS = 10


@dataclass(frozen=True)
class Decision:
    """Whether the challenger serves from now on, why in a sentence with the figures, and the figures by name."""

    promoted: bool
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {"promoted": self.promoted, "reason": self.reason, **self.figures}


def decide(comparison: Comparison, margin: float) -> Decision:
    """Promote or refuse the challenger.

    Args:
        comparison: challenger, baseline and, where one serves, champion on the same unseen nights.
        margin: relative improvement of the mean pinball asked of the challenger over the champion.
    """
    scores = comparison.scores()
    if comparison.fault:
        return Decision(False, f"refused: {comparison.fault}", {"folds": comparison.nights})
    if comparison.nights < MIN_ISSUE_TIMES:
        return Decision(
            False,
            f"refused: only {comparison.nights} unseen nights have a value to judge by; {MIN_ISSUE_TIMES} are needed",
            {"folds": comparison.nights},
        )
    incumbent = CHAMPION if CHAMPION in scores else BASELINE
    overall = diebold_mariano(comparison.difference(incumbent), comparison.overlap)
    groups = _groups(comparison, incumbent)
    worst = _worst_series(comparison, incumbent)
    figures = {
        "folds": comparison.nights,
        "p_value": overall.better,
        "coverage_80": {name: finite(score["coverage_80"]) for name, score in scores.items()},
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


def refuse_too_few(fair: int, held_out: int, seen_to: dict[str, str]) -> Decision:
    """Refuse for want of nights that nobody has seen.

    Args:
        fair, held_out: nights that no candidate has seen, of how many.
        seen_to: the latest end of what each candidate was fitted or early-stopped on.
    """
    seen = " and ".join(f"the {name} has seen data up to {until}" for name, until in seen_to.items())
    return Decision(
        False,
        f"refused: {fair} of {held_out} held-out nights are unseen by every candidate, {MIN_ISSUE_TIMES} are needed; "
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
        {"group": name, "series": len(rows), "p_value": float(p), "statistic": finite(test.statistic)}
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
