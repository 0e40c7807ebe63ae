"""Newest values that are impossible beside those before them."""

from __future__ import annotations

import numpy as np
import pytest

from model.checks.newest_values import find_implausible, without_implausible

DAY = 24
LOAD = 1000 + 300 * np.sin(np.arange(28 * DAY) / DAY * 2 * np.pi)


@pytest.mark.parametrize(("cells", "value"), [(slice(-1, None), 1e9), (slice(-3 * DAY, None), 1000 * LOAD[-3 * DAY :])])
def test_a_slip_and_another_unit_are_found(cells: slice, value: float | np.ndarray) -> None:
    values = np.stack([LOAD, LOAD, -LOAD]).astype(np.float32)
    values[1, cells] = value
    implausible = find_implausible(values, DAY)
    assert implausible is not None
    expected = np.zeros(values.shape, bool)
    expected[1, cells] = True
    assert (implausible == expected).all()
    assert np.isnan(without_implausible(values, DAY)).sum() == expected.sum()


def test_prices_zeros_and_short_histories_are_plausible() -> None:
    price = np.where(np.arange(len(LOAD)) == len(LOAD) - 1, 4000.0, 50.0)
    summer = np.where(np.arange(len(LOAD)) < len(LOAD) - DAY, 0.0, 5.0)
    young = np.where(np.arange(len(LOAD)) < len(LOAD) - 5 * DAY, np.nan, np.where(np.arange(len(LOAD)) % 2, 1.0, 300.0))
    assert find_implausible(np.stack([price, summer, young]), DAY) is None
    assert find_implausible(np.array([[1e9]]), 1) is None
