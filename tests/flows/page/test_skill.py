"""Tests of skill and calibration figures against values computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.page import skill
from flows.page.page_data import SCORE_SCHEMA
from model.evaluation import monitoring


def rows(**columns: Sequence[object]) -> pl.DataFrame:
    """Return score rows with default values for one issue time, changed by `columns`."""
    size = len(next(iter(columns.values())))
    first = datetime(2026, 1, 1, tzinfo=UTC)
    defaults = {"series_id": "a", "issue_time": first, "valid_time": first, "step": 1, "error": 1.0,
            "actual": 1.0, "absolute_error": 1.0, "pinball": 1.0,
            "covered_80": 1.0, "pit": 0.5, "baseline_pinball": 2.0, "baseline_absolute_error": 2.0,
            "scale": 1.0}  # fmt: skip
    return pl.DataFrame({name: [value] * size for name, value in defaults.items()} | columns, schema=SCORE_SCHEMA)


def test_a_series_counts_by_its_size() -> None:
    # Series a is 100 times as large as series b. The skill of a is 0.9, that of b is 0.1.
    scores = rows(
        series_id=["a", "b"], pinball=[10.0, 0.9], baseline_pinball=[100.0, 1.0], scale=[100.0, 1.0],
        absolute_error=[50.0, 1.5], baseline_absolute_error=[200.0, 2.0], error=[-50.0, 1.5],
    )  # fmt: skip
    scorable = skill.scorable_rows(scores)
    figures = skill.overall(scorable)
    assert figures["skill"] == pytest.approx(1 - 10.9 / 101)
    assert (figures["mase"], figures["baseline_mase"]) == pytest.approx((1.0, 2.0))
    assert (figures["mae"], figures["baseline_mae"], figures["bias"]) == pytest.approx((25.75, 101.0, -24.25))
    by = {row["series_id"]: row for row in skill.by_series(scorable).iter_rows(named=True)}
    assert by["a"]["skill"] == pytest.approx(0.9)
    assert by["b"]["skill"] == pytest.approx(0.1)
    assert by["a"]["mae"] == pytest.approx(50.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1e3), st.floats(0, 1e3)), min_size=1, max_size=8))
def test_the_page_has_the_skill_of_the_terminal(values: list[tuple[str, float, float]]) -> None:
    series, pinball, baseline = (list(column) for column in zip(*values, strict=True))
    scores = rows(series_id=series, pinball=pinball, baseline_pinball=baseline)
    everywhere = monitoring.aggregate(scores.with_columns(baseline_covered_80=pl.lit(1.0)).lazy())
    shown = skill.overall(skill.scorable_rows(scores))["skill"]
    assert shown == everywhere["skill"][0]
    total = sum(baseline)
    if shown is not None and total > 1e-6:
        assert shown == pytest.approx(monitoring.skill(sum(pinball), total))


def test_errors_by_local_hour_and_weekday() -> None:
    # 23:30 UTC on a Sunday in summer is 01:30 on Monday in Berlin.
    times = [datetime(2026, 7, 5, 23, 30, tzinfo=UTC), datetime(2026, 7, 5, 12, 0, tzinfo=UTC)]
    scores = rows(valid_time=times, absolute_error=[3.0, 5.0])
    assert skill.by_hour(scores, "Europe/Berlin").select("hour", "mae").rows() == [(1, 3.0), (14, 5.0)]
    assert skill.by_weekday(scores, "Europe/Berlin").select("weekday", "mae").rows() == [(1, 3.0), (7, 5.0)]


def test_rows_without_actual_value_or_scale() -> None:
    scorable = skill.scorable_rows(rows(actual=[None, float("nan"), 1.0, 1.0], scale=[1.0, 1.0, 0.0, None]))
    assert len(scorable) == 2
    figures = skill.overall(scorable)
    assert (figures["n"], figures["skill"], figures["mase"], figures["coverage"]) == (2, 0.5, None, 1.0)
    assert skill.by_series(scorable)["skill"].to_list() == [0.5]


def test_skill_is_undefined_for_a_perfect_baseline() -> None:
    assert skill.overall(skill.scorable_rows(rows(baseline_pinball=[0.0])))["skill"] is None


def test_calibration_from_pit() -> None:
    # Half of the actuals are below q10, none are between q10 and q90, half are above q90.
    scores = rows(pit=[0.05, 0.05, 0.95, 0.95])
    levels = (0.1, 0.5, 0.9)
    assert skill.reliability(scores, levels) == [(0.1, 0.5), (0.5, 0.5), (0.9, 0.5)]
    assert skill.pit_histogram(scores, levels) == [
        (0.0, 0.1, 5.0), (0.1, 0.5, 0.0), (0.5, 0.9, 0.0), (0.9, 1.0, pytest.approx(5.0))
    ]  # fmt: skip
    assert skill.reliability(scores.with_columns(pit=pl.lit(None, pl.Float64)), levels) == []
    assert skill.pit_histogram(scores.clear(), levels) == []
