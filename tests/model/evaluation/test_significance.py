"""Significance tests against published and independent values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from model.evaluation.significance import diebold_mariano, holm

# Errors of ets and auto.arima on the last 20 values of R's WWWusage: the example of forecast::dm.test.
ETS = np.array([
    0.002241270, -0.000661906, -1.200002613, -4.000218178, 3.799373533, 3.401005111, -1.199692125, -0.800490048,
    -1.200048999, 3.399847229, 7.000708948, 2.200989241, -4.800165569, -1.201043375, 3.400167556, 3.000709085,
    0.400267950, -6.800169207, -2.401259050, 1.200112198,
])  # fmt: skip
ARIMA = np.array([
    0.1209998, 8.0622269, -0.9189429, -1.7952436, 5.3431277, 2.0459823, -0.6073261, 0.5516816, -0.7633238, 4.1229472,
    5.8785333, 1.2828331, -3.4854233, 1.1971370, 3.1709314, 2.3408457, 0.4962286, -5.9841362, 0.1537114, 0.4207951,
])  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "two_sided", "greater"), [(np.square, 0.8871, 0.5565), (np.abs, 0.7818, 0.3909)]
)  # fmt: skip
def test_diebold_mariano_equals_r(loss: Callable[[np.ndarray], np.ndarray], two_sided: float, greater: float) -> None:
    result = diebold_mariano(loss(ETS) - loss(ARIMA), 1)
    assert 2 * min(result.better, result.worse) == pytest.approx(two_sided, abs=1e-4)
    assert result.worse == pytest.approx(greater, abs=1e-4)
    assert result.better + result.worse == pytest.approx(1)


def test_without_overlap_it_equals_the_t_test() -> None:
    difference = np.random.default_rng(3).normal(0.3, 1, 28)
    expected = stats.ttest_1samp(difference, 0, alternative="greater")
    result = diebold_mariano(difference, 1)
    assert result.statistic == pytest.approx(expected.statistic)
    assert result.worse == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("overlap", [2, 5, 7])
def test_variance_with_overlap_is_that_of_sums_over_blocks(overlap: int) -> None:
    """Bartlett's estimate is the mean square of the sums over all blocks of that length: never negative."""
    difference = np.random.default_rng(overlap).normal(0.2, 1, 28) + np.sin(np.arange(28))
    blocks = np.convolve(difference - difference.mean(), np.ones(overlap))
    variance = (blocks**2).sum() / (overlap * 28)
    result = diebold_mariano(difference, overlap)
    assert result.uncorrected == pytest.approx(difference.mean() / np.sqrt(variance / 28))
    correction = (28 + 1 - 2 * overlap + overlap * (overlap - 1) / 28) / 28
    assert result.statistic == pytest.approx(result.uncorrected * np.sqrt(correction))
    assert result.worse == pytest.approx(stats.t.sf(result.statistic, 27))


def test_alternating_differences_with_a_negative_plain_variance() -> None:
    difference = np.where(np.arange(28) % 2, 1.0, -0.9)
    plain = np.correlate(difference - difference.mean(), difference - difference.mean(), "full")[27:] / 28
    assert plain[0] + 2 * plain[1] < 0
    assert 0 < diebold_mariano(difference, 2).worse < 1


def test_constant_differences() -> None:
    assert diebold_mariano(np.zeros(10), 7).better == 0.5
    assert diebold_mariano(np.full(10, 0.1), 1).worse == 0.0
    assert diebold_mariano(np.full(10, -0.1), 7).worse == 1.0


def test_few_issue_times_limit_the_overlap() -> None:
    assert diebold_mariano(np.random.default_rng(0).normal(size=6), 7).overlap == 3


def test_size_of_the_test_is_near_its_level() -> None:
    """With equal models, one test in twenty errs without overlap, and about one in ten with an overlap of seven."""
    random = np.random.default_rng(1)

    def error_rate(overlap: int) -> float:
        noise = (np.convolve(random.normal(size=28 + overlap - 1), np.ones(overlap), "valid") for _ in range(2000))
        return float(np.mean([diebold_mariano(d, overlap).worse < 0.05 for d in noise]))

    assert 0.035 < error_rate(1) < 0.065
    assert error_rate(7) < 0.13


def test_holm_by_hand() -> None:
    # Times 4, 3, 2, 1 in ascending order, and never below an earlier one.
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).max() == 1.0
