"""Promotion: the rule that decides whether a challenger serves.

The challenger is compared with the incumbent on issue times that no candidate has seen. The incumbent is the champion,
or the baseline if there is none. docs/promotion.md gives the rule with formulas and sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.evaluation.comparison import BASELINE, CHALLENGER, CHAMPION, Comparison
from model.evaluation.significance import DieboldMariano, diebold_mariano, finite, holm
from storage.schemas.records import DecisionRecord, GroupTestRecord, PromotionFigures

MIN_ISSUE_TIMES = 5
_SIGNIFICANCE = 0.05
_MOST_GROUPS = 300  # More series are pooled instead of tested one by one.
_POOLS = 10
_EQUAL = 0.0005  # relative difference that is 0.0% in a sentence
_NEGLIGIBLE = 0.001  # of the mean absolute actual: a loss that is of no consequence to a user


@dataclass(frozen=True)
class Decision:
    """Result of the promotion rule.

    Attributes:
        promoted: Whether the challenger serves from now on.
        reason: A sentence with the figures.
        figures: The figures by name.
    """

    promoted: bool
    reason: str
    figures: PromotionFigures = field(default_factory=PromotionFigures)

    def to_record(self) -> DecisionRecord:
        """Return the decision for a manifest."""
        return {"promoted": self.promoted, "reason": self.reason, **self.figures}


def decide(comparison: Comparison, margin: float) -> Decision:
    """Decide whether the challenger is promoted.

    Args:
        comparison: Challenger, baseline and, if there is one, champion on the same held-out issue times.
        margin: Relative improvement of the mean pinball over the champion that a promotion requires.
    """
    if comparison.fault:
        return Decision(False, f"refused: {comparison.fault}", {"folds": comparison.judged_issues})
    if comparison.judged_issues < MIN_ISSUE_TIMES:
        return Decision(
            False,
            f"refused: only {comparison.judged_issues} held-out issue times can be judged "
            f"({MIN_ISSUE_TIMES} are needed). Wait for more actuals, or raise promotion.folds",
            {"folds": comparison.judged_issues},
        )
    incumbent = CHAMPION if CHAMPION in comparison.sums else BASELINE
    overall = diebold_mariano(comparison.difference(incumbent), comparison.overlap)
    groups = _test_groups(comparison, incumbent)
    worst = _worst_series(comparison, incumbent)
    figures = _figures(comparison, incumbent, overall, groups, worst)
    scores = comparison.scores()
    score, baseline = scores[CHALLENGER]["pinball"], scores[BASELINE]["pinball"]
    result = f"pinball {score:.6g} on {comparison.judged_issues} held-out issue times"
    relation = f"{_relation(score, baseline)} the baseline's {baseline:.6g}"
    if incumbent == CHAMPION:
        champion = scores[CHAMPION]["pinball"]
        relation = (
            f"{_relation(score, champion)} the champion's {champion:.6g} (p = {overall.better:.2g}) and {relation}"
        )
    worst_relation = _relation(float(worst["pinball"]), float(worst[incumbent]))
    tail = f"; worst series {worst['series_id']!r}, {worst_relation} the {incumbent}'s"
    worse_groups = [group for group in groups if group["p_value"] < _SIGNIFICANCE and not group.get("negligible")]
    if not score < baseline:
        return Decision(False, f"refused: {result} does not beat the baseline: {relation}{tail}", figures)
    if incumbent == CHAMPION and not (score < champion and score <= champion * (1 - margin)):
        by_margin = f" by the margin of {margin:.1%}" if margin else ""
        return Decision(False, f"refused: {result} does not beat the champion{by_margin}: {relation}{tail}", figures)
    if worse_groups:
        named = min(worse_groups, key=lambda group: group["p_value"])
        more = f" and {len(worse_groups) - 1} more" if len(worse_groups) > 1 else ""
        why = (
            f"the pinball of {named['group']}{more} is significantly higher than the {incumbent}'s "
            f"(p = {named['p_value']:.2g})"
        )
        return Decision(False, f"refused: {why}, although {result} is {relation}{tail}", figures)
    return Decision(
        True, f"promoted: {result}, {relation}{tail}, no {_group_noun(groups)} significantly worse", figures
    )


def refuse_too_few(unseen: int, held_out: int, seen_to: dict[str, str]) -> Decision:
    """Refuse the challenger because too few held-out issue times are unseen.

    Args:
        unseen: Number of held-out issue times that no candidate has seen.
        held_out: Number of held-out issue times.
        seen_to: End of the newest period used to fit or to stop early, by candidate.
    """
    candidates = " and ".join(f"the {name} has seen data up to {until}" for name, until in seen_to.items())
    return Decision(
        False,
        f"refused: {unseen} of {held_out} held-out issue times are unseen by every candidate, {MIN_ISSUE_TIMES} are "
        f"needed; {candidates}. Train again at a later issue time, because newer issue times are unseen",
        {"folds": unseen},
    )


def _figures(
    comparison: Comparison, incumbent: str, overall: DieboldMariano, groups: list[GroupTestRecord],
    worst: dict[str, str | float],
) -> PromotionFigures:  # fmt: skip
    against_baseline = diebold_mariano(comparison.difference(BASELINE), comparison.overlap)
    return {
        "folds": comparison.judged_issues,
        "p_value": overall.better,
        "coverage_80": {name: finite(score["coverage_80"]) for name, score in comparison.scores().items()},
        "worst_series": worst,
        "tests": {
            "incumbent": incumbent,
            "overall": overall.to_record(),
            "baseline": against_baseline.to_record(),
            "groups": groups,
        },
    }


def _test_groups(comparison: Comparison, incumbent: str) -> list[GroupTestRecord]:
    """Test each group of series for a worse challenger, with p-values adjusted for the number of groups.

    A group is a series. Many series are pooled into ten groups by their mean absolute actual.
    """
    judged = np.flatnonzero(comparison.count.sum(axis=0) > 0)
    if len(judged) <= _MOST_GROUPS:
        groups = {f"series {comparison.series[i]!r}": judged[k : k + 1] for k, i in enumerate(judged)}
    else:
        by_mean = judged[np.argsort(comparison.mean_actual[judged], kind="stable")]
        pools = np.array_split(by_mean, _POOLS)
        groups = {f"tenth {k} of {_POOLS} by mean value": np.sort(pool) for k, pool in enumerate(pools, start=1)}
    tests = [diebold_mariano(comparison.difference(incumbent, rows), comparison.overlap) for rows in groups.values()]
    adjusted = holm(np.array([test.worse for test in tests]))
    return [
        {
            "group": name, "series": len(rows), "p_value": float(p), "statistic": finite(test.statistic),
            "negligible": _has_negligible_loss(comparison, rows),
        }
        for (name, rows), test, p in zip(groups.items(), tests, adjusted, strict=True)
    ]  # fmt: skip


def _has_negligible_loss(comparison: Comparison, rows: NDArray[np.int64]) -> bool:
    """Return whether the challenger's mean pinball of these series is far below their values.

    The baseline of a constant series, such as a closed site, has no loss at all. A rounding error of the challenger
    would be significantly worse and would keep the model from all other series. Series that are always zero are
    compared with the mean of all series.
    """
    loss = comparison.sums[CHALLENGER]["pinball"][:, rows].sum() / comparison.count[:, rows].sum()
    size = np.nanmean(comparison.mean_actual[rows]) or np.nanmean(comparison.mean_actual)
    return bool(loss <= _NEGLIGIBLE * size)


def _worst_series(comparison: Comparison, incumbent: str) -> dict[str, str | float]:
    """Return the series with the largest ratio of the challenger's mean pinball to the incumbent's."""
    challenger, other = (comparison.by_series(name) for name in (CHALLENGER, incumbent))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(challenger == other, 1.0, challenger / other)  # Both may be zero.
    row = int(np.nanargmax(np.where(np.isnan(challenger), np.nan, ratio)))
    return {"series_id": comparison.series[row], "pinball": float(challenger[row]), incumbent: float(other[row])}


def _group_noun(groups: list[GroupTestRecord]) -> str:
    return "series" if all(group["series"] == 1 for group in groups) else "group of series"


def _relation(score: float, other: float) -> str:
    if score == other or (other and abs(score / other - 1) < _EQUAL):
        return "equal to"
    if other == 0:
        return "above"
    return f"{abs(score / other - 1):.1%} {'below' if score < other else 'above'}"
