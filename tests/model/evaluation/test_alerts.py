"""Alerts on synthetic scores whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from model.evaluation.alerts import DECAY, Limits, find_alerts
from storage.schemas import score_schema
from tests.support.examples import examples

LIMITS = Limits(timedelta(days=28), timedelta(days=7), 0.0, 0.6, 0.95, 1.0, 0.2, 2.5)
SERIES, STEPS = 4, 12
AUTOCORRELATION = 0.3  # of neighbouring issue times
Change = tuple[int, int | slice, float]


def score_rows(count: int = 80, seed: int = 0, /, **changes: Change) -> pl.LazyFrame:
    """Return scores of a calibrated model with skill 0.4 and 12 steps per issue time.

    Args:
        count: Number of issue times.
        seed: Seed of the random numbers.
        changes: name=(issue times from the end, series, new expected value) for ratio, coverage or bias.
    """
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, SERIES, 1))
    for i in range(1, count):
        noise[i] = AUTOCORRELATION * noise[i - 1] + np.sqrt(1 - AUTOCORRELATION**2) * noise[i]
    shape = (count, SERIES, STEPS)
    mean = {name: np.full(shape, value) for name, value in (("ratio", 0.6), ("coverage", 0.8), ("bias", 0.0))}
    for name, (last, series, value) in changes.items():
        mean[name][-last:, series] = value
    baseline = 10 * np.exp(0.3 * rng.normal(size=shape)) * np.array([1, 2, 5, 10])[:, None]
    # A difficult issue time is difficult for all of its steps: the interval covers more of them or fewer.
    covered = np.where(mean["coverage"] < 1, mean["coverage"] + 0.08 * noise, 1.0)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    issue, series, step = (axis.ravel() for axis in np.indices(shape))
    frame = pl.DataFrame({
        "series_id": [f"s{i}" for i in series],
        "issue_time": [start + timedelta(days=int(i)) for i in issue],
        "valid_time": [start + timedelta(days=int(i), hours=int(h)) for i, h in zip(issue, step, strict=True)],
        "pinball": (baseline * mean["ratio"] * np.exp(0.25 * noise - 0.03)).ravel(),
        "baseline_pinball": baseline.ravel(),
        "covered_80": (rng.uniform(size=shape) < covered).astype(float).ravel(),
        "error": (mean["bias"] + 0.8 * noise + 0.5 * rng.normal(size=shape)).ravel() * 3.0,
        "scale": np.full(issue.shape, 3.0),
    })  # fmt: skip
    others = [pl.lit(None, dtype).alias(name) for name, dtype in score_schema().items() if name not in frame.columns]
    return frame.with_columns(others).select(score_schema().keys()).lazy()


def alerting(scores: pl.LazyFrame, limits: Limits = LIMITS) -> set[tuple[str, str | None]]:
    return {(alert["check"], alert["series_id"]) for alert in find_alerts(scores, limits)}


def test_good_model_has_no_alert() -> None:
    assert [alerts for alerts in (alerting(score_rows(80, seed)) for seed in range(examples(60))) if alerts] == []


@pytest.mark.parametrize("change", [{"ratio": (80, slice(None), 1.0)}, {"bias": (80, slice(None), 1.0)}])
def test_model_at_a_limit_rarely_has_an_alert(change: dict[str, Change]) -> None:
    # Its figure is beyond the limit by chance half of the time. One in 160 independent issue times would have an alert;
    # these are a little correlated.
    count = examples(60)
    checks = [len(alerting(score_rows(80, seed, **change))) for seed in range(count)]
    assert sum(checks) <= 0.05 * count * (SERIES + 1)


def test_overlapping_horizons_count_for_less() -> None:
    bad = score_rows(ratio=(28, 1, 1.6)).collect()
    week = bad.with_columns(valid_time=pl.col("valid_time") + pl.duration(days=6))
    assert ("skill", "s1") in alerting(bad.lazy())
    # 28 horizons of seven days each cover the same four weeks seven times.
    assert ("skill", "s1") not in alerting(week.lazy())


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"ratio": (28, 1, 1.6)}, "skill"),
        ({"coverage": (28, 1, 0.35)}, "coverage"),
        ({"bias": (28, 1, 2.2)}, "bias"),
        ({"bias": (28, 1, -2.2)}, "bias"),
        ({"ratio": (7, 1, 1.7)}, "drift"),
    ],
)
def test_bad_series_has_the_only_alert(change: dict[str, Change], check: str) -> None:
    trials = [alerting(score_rows(80, seed, **change)) for seed in range(examples(20))]
    assert sum((check, "s1") in alerts for alerts in trials) >= 0.9 * len(trials)
    assert not [alerts for alerts in trials for _, series in alerts if series not in ("s1", None)]


def test_too_wide_intervals_have_an_alert() -> None:
    assert ("coverage", "s2") in alerting(score_rows(coverage=(28, 2, 1.0)))
    assert ("coverage", "s2") not in alerting(score_rows(coverage=(28, 2, 1.0)), replace(LIMITS, max_coverage=1.0))


def test_all_series_together() -> None:
    alerts = alerting(score_rows(ratio=(28, slice(None), 1.6)))
    assert ("skill", None) in alerts
    assert {("skill", f"s{i}") for i in range(SERIES)} <= alerts


def test_forecast_equal_to_the_baseline_has_no_alert() -> None:
    same = score_rows().with_columns(pinball="baseline_pinball")
    assert not [check for check, _ in alerting(same) if check in DECAY]


def test_too_few_issue_times_have_no_alert() -> None:
    assert alerting(score_rows(9, ratio=(9, slice(None), 5.0), coverage=(9, slice(None), 0.0))) == set()
    assert ("skill", None) in alerting(score_rows(12, ratio=(12, slice(None), 5.0)))
    assert find_alerts(score_rows().filter(False), LIMITS) == []


def test_detail_has_figures_and_advice() -> None:
    (alert,) = [
        a
        for a in find_alerts(score_rows(ratio=(28, 1, 1.6)), LIMITS)
        if (a["check"], a["series_id"]) == ("skill", "s1")
    ]
    last = score_rows(ratio=(28, 1, 1.6)).filter(series_id="s1").collect().tail(28 * STEPS)
    pinball, baseline = last.select(pl.col("pinball", "baseline_pinball").sum()).row(0)
    skill = 1 - pinball / baseline
    for words in ("s1", f"{skill:.2f}", "28 issue times", "2024-03-20", "min_skill = 0", "train"):
        assert words in alert["detail"]


def test_many_alerts_become_twenty_and_a_count() -> None:
    one = score_rows(ratio=(28, slice(None), 3.0)).collect()
    many = pl.concat([one.with_columns(pl.col("series_id") + f"-{i}") for i in range(10)]).lazy()
    skill = [alert for alert in find_alerts(many, LIMITS) if alert["check"] == "skill"]
    assert len(skill) == 21
    assert skill[0]["series_id"] is None
    assert "21 more series" in skill[-1]["detail"]
    wide = replace(LIMITS, min_skill=-np.inf)
    assert not [alert for alert in find_alerts(many, wide) if alert["check"] == "skill"]
