"""Aggregates of score rows against plain NumPy over the same rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from model.evaluation import monitoring
from storage.schemas import score_schema


@pytest.fixture
def scores() -> pl.DataFrame:
    """Two series, 40 issue times, 4 steps. One row in ten has no scale, and one in ten no baseline."""
    rng = np.random.default_rng(4)
    count = 2 * 40 * 4
    issues = [datetime(2024, 3, 1, tzinfo=UTC) + timedelta(days=i) for i in range(40)]
    error = rng.normal(size=count)
    rows = {
        "series_id": np.repeat(["a", "b"], 160).tolist(),
        "issue_time": [issue for _ in "ab" for issue in issues for _ in range(4)],
        "step": np.tile([1, 2, 3, 4], 80),
        "error": error,
        "absolute_error": np.abs(error),
        "pinball": np.abs(error) / 2,
        "covered_80": (np.abs(error) < 1.3).astype(float),
        "pit": rng.uniform(size=count),
        "baseline_pinball": [None if i % 10 == 3 else v for i, v in enumerate(rng.uniform(1, 2, count))],
        "baseline_absolute_error": [None if i % 10 == 3 else v for i, v in enumerate(rng.uniform(1, 2, count))],
        "baseline_covered_80": [None if i % 10 == 3 else 1.0 for i in range(count)],
        "scale": [None if i % 10 == 5 else 0.0 if i % 10 == 6 else 2.0 for i in range(count)],
    }
    frame = pl.DataFrame(rows).with_columns(valid_time=pl.col("issue_time") + pl.duration(hours=pl.col("step")))
    others = [pl.lit(None, dtype).alias(name) for name, dtype in score_schema().items() if name not in frame.columns]
    return frame.with_columns(others).select(pl.col(n).cast(t) for n, t in score_schema().items())


def measures_by_numpy(rows: pl.DataFrame) -> dict[str, float]:
    compared = rows.drop_nulls("baseline_pinball")
    scaled = rows.filter(pl.col("scale") > 0)
    return {
        "n": len(rows),
        "pinball": np.mean(rows["pinball"].to_numpy()),
        "mae": np.mean(rows["absolute_error"].to_numpy()),
        "mase": np.mean(scaled["absolute_error"].to_numpy() / scaled["scale"].to_numpy()),
        "bias": np.mean(rows["error"].to_numpy()),
        "scaled_bias": np.mean(scaled["error"].to_numpy() / scaled["scale"].to_numpy()),
        "coverage_80": np.mean(rows["covered_80"].to_numpy()),
        "baseline_pinball": np.mean(compared["baseline_pinball"].to_numpy()),
        "baseline_mae": np.mean(compared["baseline_absolute_error"].to_numpy()),
        "baseline_coverage_80": 1.0,
        "skill": 1 - np.mean(compared["pinball"].to_numpy()) / np.mean(compared["baseline_pinball"].to_numpy()),
    }


def test_measures_by_series_and_step(scores: pl.DataFrame) -> None:
    table = monitoring.aggregate(scores.lazy(), "series_id", "step")
    assert table.columns == ["series_id", "step", *monitoring.MEASURES]
    assert len(table) == 8
    for row in table.to_dicts():
        rows = scores.filter(series_id=row.pop("series_id"), step=row.pop("step"))
        assert row == pytest.approx(measures_by_numpy(rows))
    assert monitoring.aggregate(scores.lazy()).to_dicts() == [pytest.approx(measures_by_numpy(scores))]


@pytest.mark.parametrize("window", [7, 28])
def test_rolling_window_ends_with_each_issue_time(scores: pl.DataFrame, window: int) -> None:
    table = monitoring.rolling(monitoring.sum_by(scores.lazy(), "issue_time"), window)
    issues = scores["issue_time"].unique().sort()
    assert table["issue_time"].equals(issues)
    for i in (0, 5, window - 1, window, 39):
        rows = scores.filter(pl.col("issue_time").is_in(issues[max(0, i - window + 1) : i + 1].to_list()))
        assert table.drop("issue_time").row(i, named=True) == pytest.approx(measures_by_numpy(rows))


def test_ratio_without_a_denominator_is_null(scores: pl.DataFrame) -> None:
    bare = scores.with_columns(baseline_pinball=pl.lit(None, pl.Float64), scale=pl.lit(None, pl.Float64))
    (row,) = monitoring.aggregate(bare.lazy()).to_dicts()
    assert (row["skill"], row["baseline_pinball"], row["mase"], row["scaled_bias"]) == (None, None, None, None)
    assert row["n"] == 320


def test_weekdays_are_local(scores: pl.DataFrame) -> None:
    # 2024-03-31 00:30 in Madrid is Sunday there and still Saturday in UTC.
    one = scores.head(1).with_columns(valid_time=pl.lit(datetime(2024, 3, 30, 23, 30, tzinfo=UTC)))
    assert monitoring.with_weekday(one.lazy(), "Europe/Madrid").collect()["weekday"].to_list() == [7]
    assert monitoring.with_weekday(one.lazy(), "UTC").collect()["weekday"].to_list() == [6]


def test_pit_histogram(scores: pl.DataFrame) -> None:
    pit = [0.05, 0.1, 0.3, 0.6, 0.7, 0.95, 0.95, 0.45]
    table = monitoring.pit_histogram(scores.head(8).with_columns(pit=pl.Series(pit)).lazy())
    assert table["n"].to_list() == [1, 1, 0, 1, 1, 0, 1, 1, 0, 2]
    assert table["lower"].to_list() == [i / 10 for i in range(10)]
    assert table["share"].sum() == pytest.approx(1)
    counts, _ = np.histogram(scores["pit"], 10, (0, 1))
    assert monitoring.pit_histogram(scores.lazy())["n"].to_list() == counts.tolist()
