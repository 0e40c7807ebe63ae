"""What rings and what does not, on made nights whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from model.evaluation.alerts import DECAY, Limits, find_alerts
from storage.schemas import score_schema

LIMITS = Limits(timedelta(days=28), timedelta(days=7), 0.0, 0.6, 0.95, 1.0, 0.2, 2.5)
SERIES, STEPS = 4, 12


def nights(count: int = 80, seed: int = 0, alike: float = 0.3, **changes) -> pl.LazyFrame:
    """Scores of a calibrated model of skill 0.4, 12 steps a night; the night before tells something of the next.

    Args:
        changes: name=(nights from the end, series, new expected value) for ratio, coverage or bias.
    """
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, SERIES, 1))
    for i in range(1, count):
        noise[i] = alike * noise[i - 1] + np.sqrt(1 - alike**2) * noise[i]
    shape = (count, SERIES, STEPS)
    mean = {name: np.full(shape, value) for name, value in (("ratio", 0.6), ("coverage", 0.8), ("bias", 0.0))}
    for name, (last, series, value) in changes.items():
        mean[name][-last:, series] = value
    baseline = 10 * np.exp(0.3 * rng.normal(size=shape)) * np.array([1, 2, 5, 10])[:, None]
    # A hard night is hard for all of its steps: the interval holds more of them or fewer.
    held = np.where(mean["coverage"] < 1, mean["coverage"] + 0.08 * noise, 1.0)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    night, series, step = (axis.ravel() for axis in np.indices(shape))
    frame = pl.DataFrame({
        "series_id": [f"s{i}" for i in series],
        "issue_time": [start + timedelta(days=int(i)) for i in night],
        "valid_time": [start + timedelta(days=int(i), hours=int(h)) for i, h in zip(night, step, strict=True)],
        "pinball": (baseline * mean["ratio"] * np.exp(0.25 * noise - 0.03)).ravel(),
        "baseline_pinball": baseline.ravel(),
        "covered_80": (rng.uniform(size=shape) < held).astype(float).ravel(),
        "error": (mean["bias"] + 0.8 * noise + 0.5 * rng.normal(size=shape)).ravel() * 3.0,
        "scale": np.full(night.shape, 3.0),
    })  # fmt: skip
    others = [pl.lit(None, dtype).alias(name) for name, dtype in score_schema().items() if name not in frame.columns]
    return frame.with_columns(others).select(score_schema().keys()).lazy()


def rung(scores, limits=LIMITS) -> set[tuple[str, str | None]]:
    return {(alert["check"], alert["series_id"]) for alert in find_alerts(scores, limits)}


def test_a_good_model_never_rings():
    assert [found for found in (rung(nights(seed=seed)) for seed in range(60)) if found] == []


@pytest.mark.parametrize("change", [{"ratio": (80, slice(None), 1.0)}, {"bias": (80, slice(None), 1.0)}])
def test_a_model_right_at_a_limit_rings_rarely(change):
    # Half of the time its figure is beyond the limit by chance. With independent nights it would ring in one of 160;
    # these are a little alike.
    checks = [len(rung(nights(seed=seed, **change))) for seed in range(60)]
    assert sum(checks) <= 0.05 * 60 * (SERIES + 1)


def test_nights_whose_horizons_overlap_count_for_less():
    bad = nights(ratio=(28, 1, 1.6)).collect()
    week = bad.with_columns(valid_time=pl.col("valid_time") + pl.duration(days=6))
    assert ("skill", "s1") in rung(bad.lazy())
    # 28 nights of seven days each are four weeks that are known seven times over.
    assert ("skill", "s1") not in rung(week.lazy())


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
def test_what_grew_bad_rings_for_its_series_alone(change, check):
    found = [rung(nights(seed=seed, **change)) for seed in range(20)]
    assert sum((check, "s1") in one for one in found) >= 18
    assert not [one for one in found for _, series in one if series not in ("s1", None)]


def test_intervals_that_hold_everything_ring():
    assert ("coverage", "s2") in rung(nights(coverage=(28, 2, 1.0)))
    assert ("coverage", "s2") not in rung(nights(coverage=(28, 2, 1.0)), replace(LIMITS, max_coverage=1.0))


def test_all_series_together():
    found = rung(nights(ratio=(28, slice(None), 1.6)))
    assert ("skill", None) in found
    assert {("skill", f"s{i}") for i in range(SERIES)} <= found


def test_a_forecast_that_is_the_baseline_never_rings():
    same = nights().with_columns(pinball="baseline_pinball")
    assert not [check for check, _ in rung(same) if check in DECAY]


def test_too_few_nights_say_nothing():
    assert rung(nights(9, ratio=(9, slice(None), 5.0), coverage=(9, slice(None), 0.0))) == set()
    assert ("skill", None) in rung(nights(12, ratio=(12, slice(None), 5.0)))
    assert find_alerts(nights().filter(False), LIMITS) == []


def test_the_sentence_has_the_figures_and_what_to_do():
    (alert,) = [
        a for a in find_alerts(nights(ratio=(28, 1, 1.6)), LIMITS) if (a["check"], a["series_id"]) == ("skill", "s1")
    ]
    last = nights(ratio=(28, 1, 1.6)).filter(series_id="s1").collect().tail(28 * STEPS)
    skill = 1 - last["pinball"].sum() / last["baseline_pinball"].sum()
    for words in ("s1", f"{skill:.2f}", "28 nights", "2024-03-20", "min_skill = 0", "train"):
        assert words in alert["detail"]


def test_many_series_ring_as_twenty_and_a_count():
    one = nights(ratio=(28, slice(None), 3.0)).collect()
    many = pl.concat([one.with_columns(pl.col("series_id") + f"-{i}") for i in range(10)]).lazy()
    skill = [alert for alert in find_alerts(many, LIMITS) if alert["check"] == "skill"]
    assert len(skill) == 21
    assert skill[0]["series_id"] is None
    assert "21 more series" in skill[-1]["detail"]
    wide = replace(LIMITS, min_skill=-np.inf)
    assert not [alert for alert in find_alerts(many, wide) if alert["check"] == "skill"]
