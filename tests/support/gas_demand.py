"""Synthetic daily gas demand of two zones, the data of README.md."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

#: Mean demand by zone, in GWh.
_LEVELS = {"north": 420.0, "south": 180.0}
_FIRST, _LAST = date(2023, 12, 1), date(2026, 11, 28)


def write_gas_demand(path: Path) -> None:
    """Write three years of demand with a yearly and a weekly season as CSV: zone, gas_day, gwh."""
    random = np.random.default_rng(3)
    days = pl.date_range(_FIRST, _LAST, "1d", eager=True)
    day_of_year, is_weekend = days.dt.ordinal_day().to_numpy(), days.dt.weekday().to_numpy() >= 6
    season = 1 + 0.45 * np.cos(2 * np.pi * (day_of_year - 20) / 365.25) - 0.12 * is_weekend
    tables = []
    for zone, level in _LEVELS.items():
        weather = np.zeros(len(days))
        shocks = random.standard_normal(len(days))
        for day in range(1, len(days)):
            weather[day] = 0.8 * weather[day - 1] + shocks[day]
        demand = (level * (season + 0.04 * weather)).round(1)
        tables.append(pl.DataFrame({"zone": zone, "gas_day": days, "gwh": demand}))
    pl.concat(tables).write_csv(path)
