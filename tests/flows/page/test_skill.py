"""Figures of the page, by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from flows.page import skill
from flows.page.page_data import SCORE_SCHEMA


def rows(**columns: list) -> pl.DataFrame:
    """Score rows of one night, unless said otherwise."""
    size = len(next(iter(columns.values())))
    first = datetime(2026, 1, 1, tzinfo=UTC)
    told = {"series_id": "a", "issue_time": first, "step": 1, "actual": 1.0, "absolute_error": 1.0, "pinball": 1.0,
            "covered_80": 1.0, "pit": 0.5, "baseline_pinball": 2.0, "baseline_absolute_error": 2.0,
            "scale": 1.0}  # fmt: skip
    return pl.DataFrame({name: [value] * size for name, value in told.items()} | columns, schema=SCORE_SCHEMA)


def test_every_series_counts_alike_whatever_its_size():
    # a is 100 times as large as b; its skill is 0.9, b's is 0.1.
    found = rows(
        series_id=["a", "b"], pinball=[10.0, 0.9], baseline_pinball=[100.0, 1.0], scale=[100.0, 1.0],
        absolute_error=[50.0, 1.5], baseline_absolute_error=[200.0, 2.0],
    )  # fmt: skip
    judged = skill.came_true(found)
    whole = skill.overall(judged)
    assert whole["skill"] == pytest.approx(1 - (0.1 + 0.9) / 2)
    assert (whole["mase"], whole["baseline_mase"]) == pytest.approx((1.0, 2.0))
    by = {row["series_id"]: row for row in skill.by_series(judged).iter_rows(named=True)}
    assert by["a"]["skill"] == pytest.approx(0.9)
    assert by["b"]["skill"] == pytest.approx(0.1)
    assert by["a"]["mae"] == pytest.approx(50.0)


def test_what_has_not_come_is_not_judged_and_no_scale_is_no_weight():
    judged = skill.came_true(rows(actual=[None, float("nan"), 1.0, 1.0], scale=[1.0, 1.0, 0.0, None]))
    assert len(judged) == 2
    whole = skill.overall(judged)
    assert (whole["n"], whole["skill"], whole["mase"], whole["coverage"]) == (2, None, None, 1.0)
    assert skill.by_series(judged)["skill"].to_list() == [0.5]


def test_a_flawless_baseline_has_no_skill_against_it():
    assert skill.overall(skill.came_true(rows(baseline_pinball=[0.0])))["skill"] is None


def test_newest_nights():
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    assert skill.newest(rows(issue_time=days), 2)["issue_time"].to_list() == days[1:]


def test_calibration_from_pit():
    # Half of what came lies under q10, none between q10 and q50, half above q90.
    found = rows(pit=[0.05, 0.05, 0.95, 0.95])
    levels = (0.1, 0.5, 0.9)
    assert skill.reliability(found, levels) == [(0.1, 0.5), (0.5, 0.5), (0.9, 0.5)]
    assert skill.pit_histogram(found, levels) == [
        (0.0, 0.1, 5.0), (0.1, 0.5, 0.0), (0.5, 0.9, 0.0), (0.9, 1.0, pytest.approx(5.0))
    ]  # fmt: skip
    assert skill.reliability(found.with_columns(pit=pl.lit(None, pl.Float64)), levels) == []
    assert skill.pit_histogram(found.clear(), levels) == []
