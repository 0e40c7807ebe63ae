"""What is compared: the same cells for all, as of each night, and no night that someone has seen."""

from __future__ import annotations

import numpy as np
import pytest

from model.evaluation import metrics
from model.evaluation.comparison import IssueTimes, compare
from model.windows import Windows, build_windows
from tests.support import made

SPEC = made.spec(known_future=(), observed=())
LEVELS = np.array(SPEC.levels)


class Flat:
    """Forecasts the last visible value, wider or narrower, and `wrong` for one series."""

    def __init__(self, width: float, wrong: float | None = None) -> None:
        self.spec, self.width, self.wrong = SPEC, width, wrong

    def quantiles(self, windows: Windows) -> np.ndarray:
        last = np.nan_to_num(windows.target[:, -1].astype(np.float64))
        spread = self.width * (LEVELS - 0.5) * np.abs(last)[:, None]
        out = np.tile((last[:, None] + spread)[:, None], (1, SPEC.horizon, 1))
        if self.wrong is not None:
            out[windows.series == 2] = self.wrong
        return out


def nights(panel, count: int = 6) -> IssueTimes:
    steps = panel.first + 1000 + 24 * np.arange(count)
    return IssueTimes(panel.grid.start(steps), steps)


def test_scores_are_those_of_all_cells_together():
    panel = made.panel(SPEC)
    panel.target.layers[0].values[1, 1000:1010] = np.nan
    at = nights(panel)
    narrow = Flat(0.1)
    found = compare(SPEC, panel, at, {"challenger": narrow, "champion": Flat(0.8)})
    rows, steps, issues = at.window_keys(panel)
    seen = build_windows(SPEC, panel, rows, steps, issues)
    actual = panel.target.final(rows, steps - panel.first, SPEC.horizon).astype(np.float64)
    expected = metrics.summary(narrow.quantiles(seen), LEVELS, actual)
    assert found.scores()["challenger"] == pytest.approx(expected)
    assert expected["n"] == 6 * 3 * 24 - 10
    assert list(found.scores()) == ["baseline", "challenger", "champion"]
    difference = found.difference("champion", np.array([0]))
    losses = {w: metrics.pinball(Flat(w).quantiles(seen), LEVELS, actual)[rows == 0].mean(axis=1) for w in (0.1, 0.8)}
    np.testing.assert_allclose(difference, losses[0.1] - losses[0.8])


def test_a_context_with_too_little_in_it_is_not_judged():
    panel = made.panel(SPEC)
    panel.target.layers[0].values[2, 900:1000] = np.nan  # the first night's context, and half of the second's
    found = compare(SPEC, panel, nights(panel), {"challenger": Flat(0.2)})
    assert found.count[:, 2].tolist() == [0, 24, 24, 24, 24, 24]
    assert found.count[:, 0].tolist() == [24] * 6


@pytest.mark.parametrize(("wrong", "words"), [(np.nan, "not finite"), (-1.0, "below the lower bound")])
def test_a_faulty_output_names_its_series(wrong, words):
    panel = made.panel(SPEC)
    found = compare(SPEC, panel, nights(panel), {"challenger": Flat(0.2, wrong)})
    assert words in found.fault
    assert "series 'b', on 6 of 6 nights" in found.fault
    # The champion's faults are its own: the night replaces such rows by the baseline.
    assert compare(SPEC, panel, nights(panel), {"challenger": Flat(0.2), "champion": Flat(0.2, wrong)}).fault is None


@pytest.mark.parametrize(
    ("frequency", "horizon", "overlap"), [("1h", 24, 1), ("1h", 36, 2), ("15m", 96, 1), ("1d", 7, 7), ("1b", 5, 5)]
)
def test_how_many_nights_a_horizon_reaches_over(frequency, horizon, overlap):
    spec = made.spec(
        frequency=frequency, horizon=horizon, known_future=(), observed=(), holidays=None, timezone="UTC", context=28,
        season=7, segment=7,
    )  # fmt: skip
    panel = made.panel(spec)
    model = Flat(0.2)
    model.spec = spec
    model.quantiles = lambda windows: np.ones((len(windows), horizon, len(LEVELS)))
    assert compare(spec, panel, nights(panel, 5), {"challenger": model}).overlap == overlap


def test_nights_since():
    at = IssueTimes(np.array([10, 20, 30]), np.array([1, 2, 3]))
    assert at.since(20).issues.tolist() == [20, 30]
    assert len(at.since(31)) == 0
