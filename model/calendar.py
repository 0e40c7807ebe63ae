"""Calendar covariates of steps, in local time: known for every step, past and future."""

from __future__ import annotations

import numpy as np

from model.timegrid import TimeGrid, local_naive

CALENDAR = (
    "day_sin", "day_cos", "day_sin2", "day_cos2",
    "mon", "tue", "wed", "thu", "fri", "sat", "sun",
    "year_sin", "year_cos", "year_sin2", "year_cos2",
    "holiday", "holiday_before", "holiday_after",
)  # fmt: skip


def calendar_covariates(grid: TimeGrid, steps: np.ndarray) -> np.ndarray:
    """(N, len(CALENDAR)) float32 for `steps` (N,): position in the local day, week and year, holidays.

    Two harmonics each of the day and the year let a linear layer draw a two-peaked shape.
    """
    local = local_naive(grid.start(steps), grid.timezone)
    dates = local.astype("datetime64[D]")
    in_day = (local - dates).astype("timedelta64[s]").astype(np.float64) / 86_400
    year = dates.astype("datetime64[Y]")
    in_year = ((dates - year.astype("datetime64[D]")).astype(np.float64) + in_day) / 365.2425
    weekday = (dates.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; 0 is Monday
    one = np.timedelta64(1, "D")
    columns = [
        *_harmonics(in_day),
        *(weekday == day for day in range(7)),
        *_harmonics(in_year),
        *(grid.is_holiday(day) for day in (dates, dates + one, dates - one)),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _harmonics(position: np.ndarray) -> list[np.ndarray]:
    angles = [2 * np.pi * k * position for k in (1, 2)]
    return [f(angle) for angle in angles for f in (np.sin, np.cos)]
