"""Comparison of candidates over the same cells."""

from __future__ import annotations

import numpy as np
import pytest

from model.evaluation import metrics
from model.evaluation.comparison import IssueTimes, compare
from model.panel import Panel
from model.spec import ModelSpec
from model.windows import Windows, build_windows
from tests.support import made

SPEC = made.spec(known_future=(), observed=())
LEVELS = np.array(SPEC.levels)


class FlatModel:
    """Model that forecasts the last visible value with a given interval width, and `wrong` for one series."""

    def __init__(self, width: float, wrong: float | None = None, spec: ModelSpec = SPEC) -> None:
        self.spec, self.width, self.wrong = spec, width, wrong

    def quantiles(self, windows: Windows) -> np.ndarray:
        last = np.nan_to_num(windows.target[:, -1].astype(np.float64))
        spread = self.width * (LEVELS - 0.5) * np.abs(last)[:, None]
        quantiles = np.tile((last[:, None] + spread)[:, None], (1, self.spec.horizon, 1))
        if self.wrong is not None:
            quantiles[windows.series == 2] = self.wrong
        return quantiles


def issue_times(panel: Panel, count: int = 6) -> IssueTimes:
    steps = panel.first + 1000 + 24 * np.arange(count)
    return IssueTimes(panel.grid.start(steps), steps)


def test_scores_are_means_over_all_cells() -> None:
    panel = made.panel(SPEC)
    panel.target.layers[0].values[1, 1000:1010] = np.nan
    times = issue_times(panel)
    narrow = FlatModel(0.1)
    comparison = compare(SPEC, panel, times, {"challenger": narrow, "champion": FlatModel(0.8)})
    rows, steps, issues = times.window_keys(panel)
    inputs = build_windows(SPEC, panel, rows, steps, issues)
    actual = panel.target.final(rows, steps - panel.first, SPEC.horizon).astype(np.float64)
    expected = metrics.summary(narrow.quantiles(inputs), LEVELS, actual)
    assert comparison.scores()["challenger"] == pytest.approx(expected)
    assert expected["n"] == 6 * 3 * 24 - 10
    assert list(comparison.scores()) == ["baseline", "challenger", "champion"]
    difference = comparison.difference("champion", np.array([0]))
    losses = {
        w: metrics.pinball(FlatModel(w).quantiles(inputs), LEVELS, actual)[rows == 0].mean(axis=1) for w in (0.1, 0.8)
    }
    np.testing.assert_allclose(difference, losses[0.1] - losses[0.8])


def test_context_with_too_few_values_is_not_judged() -> None:
    panel = made.panel(SPEC)
    panel.target.layers[0].values[2, 900:1000] = np.nan  # the first context, and half of the second
    comparison = compare(SPEC, panel, issue_times(panel), {"challenger": FlatModel(0.2)})
    assert comparison.count[:, 2].tolist() == [0, 24, 24, 24, 24, 24]
    assert comparison.count[:, 0].tolist() == [24] * 6


@pytest.mark.parametrize(("wrong", "words"), [(np.nan, "not finite"), (-1.0, "below the lower bound")])
def test_faulty_output_is_reported_with_its_series(wrong: float, words: str) -> None:
    panel = made.panel(SPEC)
    comparison = compare(SPEC, panel, issue_times(panel), {"challenger": FlatModel(0.2, wrong)})
    assert comparison.fault is not None and words in comparison.fault
    assert "series 'b', at 6 of 6 issue times" in comparison.fault
    # A faulty champion does not count against the challenger: the nightly forecast replaces such rows by the baseline.
    assert (
        compare(
            SPEC, panel, issue_times(panel), {"challenger": FlatModel(0.2), "champion": FlatModel(0.2, wrong)}
        ).fault
        is None
    )


@pytest.mark.parametrize(
    ("frequency", "horizon", "overlap"), [("1h", 24, 1), ("1h", 36, 2), ("15m", 96, 1), ("1d", 7, 7), ("1b", 5, 5)]
)
def test_overlap_is_the_number_of_issue_times_in_a_horizon(frequency: str, horizon: int, overlap: int) -> None:
    spec = made.spec(
        frequency=frequency, horizon=horizon, known_future=(), observed=(), holidays=None, timezone="UTC", context=28,
        season=7, segment=7,
    )  # fmt: skip
    panel = made.panel(spec)
    model = FlatModel(0.2, spec=spec)
    assert compare(spec, panel, issue_times(panel, 5), {"challenger": model}).overlap == overlap


def test_issue_times_since() -> None:
    times = IssueTimes(np.array([10, 20, 30]), np.array([1, 2, 3]))
    assert times.since(20).issues.tolist() == [20, 30]
    assert len(times.since(31)) == 0
