"""The promotion rule, case by case."""

from __future__ import annotations

import numpy as np

from model.evaluation.comparison import Comparison
from model.evaluation.promotion import decide, refuse_too_few

Loss = np.ndarray | float


def comparison_of(
    issues: int = 28, series: int = 3, fault: str | None = None, *, baseline: Loss, challenger: Loss,
    champion: Loss | None = None,
) -> Comparison:  # fmt: skip
    """Return a comparison with the losses of each candidate: one number, or an array (issues, series)."""
    candidates = {"baseline": baseline, "challenger": challenger, "champion": champion}
    sums = {
        name: {
            "pinball": np.broadcast_to(np.asarray(loss, float), (issues, series)).copy(),
            "mae": np.ones((issues, series)),
            "coverage_80": np.full((issues, series), 0.75),
        }
        for name, loss in candidates.items()
        if loss is not None
    }
    names = tuple(f"s{i}" for i in range(series))
    return Comparison(names, np.ones((issues, series), np.int64), sums, np.arange(1.0, series + 1), 1, fault)


def noisy(mean: float, *columns: float, issues: int = 28) -> np.ndarray:
    """Return losses around `mean` plus a shift per series, shape (issues, 3)."""
    return mean + np.array(columns or (0.0, 0.0, 0.0)) + 0.05 * np.random.default_rng(5).normal(size=(issues, 3))


def test_challenger_better_than_champion_and_baseline_is_promoted() -> None:
    decision = decide(comparison_of(baseline=2.0, challenger=noisy(0.9), champion=1.0), 0.0)
    assert decision.promoted
    record = decision.to_record()
    assert (record["promoted"], record["folds"], record["coverage_80"]["champion"]) == (True, 28, 0.75)
    assert record["p_value"] is not None and record["p_value"] < 0.001
    assert record["tests"]["incumbent"] == "champion"
    assert [group["group"] for group in record["tests"]["groups"]] == ["series 's0'", "series 's1'", "series 's2'"]
    for figure in (
        "28 held-out issue times",
        "champion's 1 ",
        "baseline's 2",
        str(record["worst_series"]["series_id"]),
    ):
        assert figure in decision.reason


def test_challenger_equal_to_or_worse_than_the_champion_is_refused() -> None:
    for loss in (1.0, noisy(1.05)):
        decision = decide(comparison_of(baseline=2.0, challenger=loss, champion=1.0), 0.0)
        assert not decision.promoted
        assert "does not beat the champion" in decision.reason


def test_margin_is_required() -> None:
    comparison = comparison_of(baseline=2.0, challenger=noisy(0.97), champion=1.0)
    assert decide(comparison, 0.0).promoted
    refused = decide(comparison, 0.05)
    assert not refused.promoted
    assert "margin of 5.0%" in refused.reason


def test_challenger_worse_than_the_baseline_is_refused() -> None:
    for champion in (None, 3.0):
        decision = decide(comparison_of(baseline=1.0, challenger=noisy(1.1), champion=champion), 0.0)
        assert not decision.promoted
        assert "does not beat the baseline" in decision.reason


def test_challenger_worse_on_one_series_is_refused_with_its_name() -> None:
    decision = decide(comparison_of(baseline=2.0, challenger=noisy(0.8, 0.0, 0.4, 0.0), champion=1.0), 0.0)
    assert not decision.promoted
    assert "the pinball of series 's1' is significantly higher" in decision.reason
    assert decision.figures["worst_series"]["series_id"] == "s1"


def test_challenger_worse_on_one_series_by_chance_is_promoted() -> None:
    lucky = noisy(0.9)
    lucky[:, 2] = 1.01 + np.random.default_rng(1).normal(size=28)
    decision = decide(comparison_of(baseline=2.0, challenger=lucky, champion=1.0), 0.0)
    assert decision.promoted, decision.reason
    assert decision.figures["worst_series"]["series_id"] == "s2"


def test_first_challenger_is_compared_with_the_baseline_by_series() -> None:
    assert decide(comparison_of(baseline=2.0, challenger=noisy(1.0)), 0.0).promoted
    decision = decide(comparison_of(baseline=2.0, challenger=noisy(1.0, 0.0, 1.5, 0.0)), 0.0)
    assert not decision.promoted
    assert "series 's1' is significantly higher than the baseline's" in decision.reason


def test_many_series_are_pooled_by_level() -> None:
    losses = np.full((28, 400), 0.5) + 0.01 * np.random.default_rng(2).normal(size=(28, 400))
    losses[:, 360:] += 1.0  # the tenth of the highest levels
    decision = decide(comparison_of(series=400, baseline=2.0, challenger=losses, champion=1.0), 0.0)
    assert not decision.promoted
    assert "tenth 10 of 10 by mean value is significantly higher" in decision.reason
    assert [group["series"] for group in decision.figures["tests"]["groups"]] == [40] * 10


def test_faults_and_too_few_issue_times_are_refused() -> None:
    decision = decide(
        comparison_of(baseline=2.0, challenger=0.5, fault="the model's quantiles cross for series 's1'"), 0.0
    )
    assert (decision.promoted, "cross for series 's1'" in decision.reason) == (False, True)
    decision = decide(comparison_of(issues=4, baseline=2.0, challenger=0.5), 0.0)
    assert (decision.promoted, "only 4 held-out issue times" in decision.reason) == (False, True)
    decision = refuse_too_few(2, 28, {"challenger": "2018-08-30", "champion": "2018-08-01"})
    assert not decision.promoted
    for words in ("2 of 28", "5 are needed", "challenger has seen data up to 2018-08-30"):
        assert words in decision.reason


def test_issue_times_without_a_value_are_not_judged() -> None:
    comparison = comparison_of(baseline=2.0, challenger=noisy(0.5), champion=1.0)
    comparison.count[4:] = 0
    for sums in comparison.sums.values():
        for total in sums.values():
            total[4:] = 0
    assert comparison.judged_issues == 4
    assert "only 4 held-out issue times" in decide(comparison, 0.0).reason


def test_a_constant_series_keeps_no_model_from_the_others() -> None:
    """A closed site: the baseline is exact, and the challenger has a rounding error at every issue time."""
    baseline, challenger = np.full((28, 3), 2.0), noisy(0.9)
    baseline[:, 2], challenger[:, 2] = 0.0, 1e-5
    decision = decide(comparison_of(baseline=baseline, challenger=challenger), 0.0)
    assert decision.promoted, decision.reason
    assert decision.to_record()["tests"]["groups"][2]["negligible"]
    challenger[:, 2] = 0.5
    assert "series 's2'" in decide(comparison_of(baseline=baseline, challenger=challenger), 0.0).reason
