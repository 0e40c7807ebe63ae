"""Sample paths: values from the quantiles of each step, order from past courses."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.sample_paths import choose_templates, shuffle, spread_quantiles

LEVELS = np.arange(1, 10) / 10
NORMAL = np.array([NormalDist().inv_cdf(level) for level in LEVELS])


def test_the_quantiles_of_a_normal_distribution_are_exact_to_its_tails() -> None:
    spread = spread_quantiles(100 + 5 * NORMAL, LEVELS, 200)
    expected = [100 + 5 * NormalDist().inv_cdf((i + 0.5) / 200) for i in range(200)]
    np.testing.assert_allclose(spread, expected)


def test_a_single_level_gives_equal_values() -> None:
    assert spread_quantiles(np.array([[7.0]]), np.array([0.5]), 3).tolist() == [[7.0, 7.0, 7.0]]


def test_one_path_is_the_median() -> None:
    np.testing.assert_allclose(spread_quantiles(NORMAL, LEVELS, 1), [0.0], atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 30), st.integers(1, 6))
def test_a_shuffle_keeps_the_values_of_each_step_and_takes_the_order_of_the_templates(
    seed: int, series: int, count: int, horizon: int
) -> None:
    random = np.random.default_rng(seed)
    values = np.sort(random.normal(size=(series, horizon, count)), axis=2)
    templates = random.integers(0, 5, size=(series, count, horizon)).astype(float)
    paths = shuffle(values, templates)
    np.testing.assert_array_equal(np.sort(paths, axis=1), values.swapaxes(1, 2))
    for row in range(series):
        for step in range(horizon):
            by_template = paths[row, np.argsort(templates[row, :, step], kind="stable"), step]
            assert (np.diff(by_template) >= 0).all()


def test_sums_of_dependent_steps_are_wider_than_those_of_independent_ones() -> None:
    random = np.random.default_rng(1)
    values = spread_quantiles(np.broadcast_to(NORMAL, (1, 24, 9)), LEVELS, 500)
    together = np.repeat(random.normal(size=(1, 500, 1)), 24, axis=2)
    apart = random.normal(size=(1, 500, 24))
    deviation = [shuffle(values, templates).sum(axis=2).std() for templates in (together, apart)]
    assert deviation[0] == pytest.approx(24, rel=0.05)
    assert deviation[1] == pytest.approx(24**0.5, rel=0.15)


def test_series_share_the_course_of_a_path_where_both_have_it() -> None:
    courses = np.arange(6.0)[:, None] * np.ones(2)
    gap = courses.copy()
    gap[2, 1] = np.nan
    whole, other = choose_templates(courses, 9, 4), choose_templates(gap, 9, 4)
    assert whole is not None and other is not None
    assert whole[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert not np.isnan(other).any()
    differs = np.flatnonzero((whole != other).any(axis=1))
    assert differs.tolist() == [2, 8]
    assert choose_templates(gap, 9, 6) is None
