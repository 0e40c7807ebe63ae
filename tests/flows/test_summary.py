"""Sentences of the summary: numbers with their nouns, a backfill's forecasts, and the nights behind a skill."""

from __future__ import annotations

from typing import Any, cast

import pytest

from flows import summary
from storage.schemas.counts import counted
from storage.schemas.records import BackfillReport, ForecastReport, Manifest, ScoreReport


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 forecasts"), (1, "1 forecast"), (2, "2 forecasts"), (12000, "12,000 forecasts")]
)
def test_a_noun_is_plural_unless_there_is_one(number: int, text: str) -> None:
    assert counted(number, "forecast") == text


def test_an_irregular_plural_is_given() -> None:
    assert (counted(1, "series", "series"), counted(2, "series", "series")) == ("1 series", "2 series")


def test_a_fit_that_its_budget_ended_is_reported() -> None:
    assert (
        summary.budget_lines(cast(Manifest, {"is_cut_short": False})) == summary.budget_lines(cast(Manifest, {})) == []
    )
    (line,) = summary.budget_lines(cast(Manifest, {"is_cut_short": True}))
    assert "budget ended the fit" in line and "training.budget" in line


def scored(count: int, nights: int) -> str:
    window = {"pinball": 4.5, "skill": 0.25}
    report: dict[str, Any] = {"scored": count, "revised": 0, "summary": {"nights": nights, "last_28_nights": window}}
    return summary.score_sentence(cast(ScoreReport, report))


def test_a_run_that_scored_nothing_states_why() -> None:
    nothing: dict[str, Any] = {"scored": 0, "revised": 0, "unchanged": 0, "summary": {}}
    assert summary.score_sentence(cast(ScoreReport, nothing)) == (
        "Scored no forecast, because no actuals of one are known yet."
    )
    before = summary.score_sentence(cast(ScoreReport, nothing | {"unchanged": 10}))
    assert before.startswith("Scored no further forecast; the scores of 10 forecasts are unchanged.")


def test_a_skill_names_the_number_of_its_nights() -> None:
    assert scored(1, 1) == (
        "Scored 1 forecast. The newest night with actuals: pinball 4.5, skill +25% against the baseline."
    )
    assert scored(2, 9).startswith("Scored 2 forecasts. Last 9 nights with actuals: ")


@pytest.mark.parametrize(
    ("issues", "failed", "text"),
    [
        (2, 0, "Published 2 of 2 forecasts, 1 of them degraded."),
        (3, 0, "Published 2 of 3 forecasts, 1 of them degraded; 1 was published before."),
        (5, 1, "Published 2 of 5 forecasts, 1 of them degraded; 2 were published before; 1 failed."),
    ],
)
def test_a_backfill_states_how_many_existed_and_failed(issues: int, failed: int, text: str) -> None:
    failures = {"score": "no", **{f"forecast {number}": "no" for number in range(failed)}}
    report = {"issues": issues, "published": [{"degraded": True}, {"degraded": False}], "failures": failures}
    assert summary.backfill_sentence(cast(BackfillReport, report)) == text


def test_a_run_with_a_failed_step_names_it_and_its_error() -> None:
    report: dict[str, Any] = {
        "degraded": False,
        "series": 2,
        "status": {"model": 48},
        "path": "x.parquet",
        "incomplete": {},
    }
    published = "Published: 2 series, 48 model rows, file x.parquet. Inputs complete."
    assert summary.run_sentence(cast(ForecastReport, report), {}) == published
    failures = {"ingest:weather": "feed 'weather': no such file.", "score": "no"}
    assert summary.run_sentence(cast(ForecastReport, report), failures) == (
        f"{published} Failed: ingest of weather (feed 'weather': no such file), and 1 more step."
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (64310.2, "64310"),
        (999.96, "1000"),
        (12.5, "12.5"),
        (7.0, "7"),
        (0.00012345, "0.0001234"),
        (-3.2e-6, "-0.0000032"),
    ],
)
def test_a_number_has_no_exponent(value: float, text: str) -> None:
    assert summary.number_text(value) == text
