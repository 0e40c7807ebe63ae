"""Calendar covariates in local time. They are known for every step, past and future."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.timegrid import TimeGrid, local_naive

CALENDAR = (
    "day_sin", "day_cos", "day_sin2", "day_cos2",
    "mon", "tue", "wed", "thu", "fri", "sat", "sun",
    "year_sin", "year_cos", "year_sin2", "year_cos2",
    "holiday", "holiday_before", "holiday_after",
)  # fmt: skip


def calendar_covariates(grid: TimeGrid, steps: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the position in the local day, week and year, and holidays, of N steps.

    Two harmonics each of the day and the year let a linear layer form a shape with two peaks.

    Args:
        grid: Grid of the steps.
        steps: Step numbers, shape (N,).

    Returns:
        Array of shape (N, len(CALENDAR)).
    """
    local = local_naive(grid.start(steps), grid.timezone)
    dates: NDArray[np.datetime64] = local.astype("datetime64[D]")
    in_day = (local - dates).astype("timedelta64[s]").astype(np.float64) / 86_400
    year = dates.astype("datetime64[Y]")
    in_year = ((dates - year.astype("datetime64[D]")).astype(np.float64) + in_day) / 365.2425
    weekday = (dates.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday. 0 is Monday.
    one_day = np.timedelta64(1, "D")
    neighbours: list[NDArray[np.datetime64]] = [dates, dates + one_day, dates - one_day]
    columns = [
        *_harmonics(in_day),
        *(weekday == day for day in range(7)),
        *_harmonics(in_year),
        *(grid.is_holiday(day) for day in neighbours),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _harmonics(position: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the sines and cosines of the first two harmonics of a position in [0, 1)."""
    angles = [2 * np.pi * k * position for k in (1, 2)]
    return [function(angle) for angle in angles for function in (np.sin, np.cos)]
