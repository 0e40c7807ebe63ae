"""Metrics against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from model.evaluation import metrics

LEVELS = np.array([0.1, 0.5, 0.9])


def test_pinball_by_hand() -> None:
    quantiles = np.array([[8.0, 10.0, 14.0]])
    # e = 2, 0, -4: 0.1 * 2, 0, (0.9 - 1) * -4
    assert metrics.pinball(quantiles, LEVELS, np.array([10.0]))[0] == pytest.approx((0.2 + 0 + 0.4) / 3)
    assert metrics.absolute_error(quantiles, LEVELS, np.array([7.0]))[0] == 3.0


def test_coverage_and_missing_actuals() -> None:
    quantiles = np.tile([8.0, 10.0, 14.0], (4, 1))
    actual = np.array([8.0, 14.0, 14.1, np.nan])
    summary = metrics.summary(quantiles, LEVELS, actual)
    assert summary["n"] == 3
    assert summary["coverage_80"] == pytest.approx(2 / 3)
    between = metrics.covered(
        np.array([[0.0, 10, 20, 30, 40]]), np.array([0.05, 0.25, 0.5, 0.75, 0.95]), np.array([2.4])
    )
    assert between[0] == 0.0  # The quantile of level 0.1 is 2.5.
    assert np.isnan(metrics.covered(quantiles[:, 1:], LEVELS[1:], actual)).all()
