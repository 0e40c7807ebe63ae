"""Simulated errors of weather forecasts: their size by lead time, and how the forecasts of one day converge."""

from __future__ import annotations

import numpy as np

from benchmarks.gas import DEVIATIONS, simulate_errors


def test_errors_grow_with_the_lead_time_and_forecasts_of_a_day_converge() -> None:
    errors = simulate_errors(50_000, np.random.default_rng(1))
    np.testing.assert_allclose(errors.std(axis=0), DEVIATIONS, rtol=0.03)
    # What becomes known between two issues of a day's forecast does not depend on the error that is left.
    for lead in range(1, len(DEVIATIONS)):
        assert abs(np.corrcoef(errors[:, lead] - errors[:, lead - 1], errors[:, lead - 1])[0, 1]) < 0.02
    # One issue errs on neighbouring days alike.
    assert np.corrcoef(errors[:-1, 2], errors[1:, 3])[0, 1] > 0.5
