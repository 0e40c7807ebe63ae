"""Forecasts that took long, kept in the repository, so that anybody can have the table afresh within minutes.

A quantile is kept to the two-thousandth of its series' seasonal naive MAE, the median as a whole number of them and the
others as what they are further away: a tenth of the size of what it was.
"""

from __future__ import annotations

import polars as pl

from benchmarks.league import panel
from benchmarks.league.forecasts import COLUMNS, KEYS

_PARTS = 2000
_MIDDLE = len(COLUMNS) // 2


def pack(given: panel.Panel, rows: pl.DataFrame) -> pl.DataFrame:
    """Forecast rows as they are kept."""
    status = [name for name in ("status",) if name in rows.columns]
    numbers = [(pl.col(name) / pl.col("unit")).round().cast(pl.Int32).alias(name) for name in COLUMNS]
    return (
        rows.join(_units(given), on="series_id", maintain_order="left")
        .sort(KEYS)
        .select(*KEYS, *status, *numbers)
        .with_columns(
            *(pl.col(name) - pl.col(COLUMNS[at + 1]) for at, name in enumerate(COLUMNS[:_MIDDLE])),
            *(pl.col(name) - pl.col(COLUMNS[at + _MIDDLE]) for at, name in enumerate(COLUMNS[_MIDDLE + 1 :])),
        )
    )


def unpack(given: panel.Panel, packed: pl.DataFrame) -> pl.DataFrame:
    """Forecast rows again, from what `pack` made of them."""
    rows = packed.join(_units(given), on="series_id", maintain_order="left")
    below = [pl.sum_horizontal(COLUMNS[at : _MIDDLE + 1]).alias(name) for at, name in enumerate(COLUMNS[:_MIDDLE])]
    above = [
        pl.sum_horizontal(COLUMNS[_MIDDLE : at + _MIDDLE + 2]).alias(name)
        for at, name in enumerate(COLUMNS[_MIDDLE + 1 :])
    ]
    whole = rows.with_columns(*below, *above)
    return whole.with_columns(pl.col(name) * pl.col("unit") for name in COLUMNS).drop("unit")


def _units(given: panel.Panel) -> pl.DataFrame:
    return pl.DataFrame({"series_id": given.series, "unit": given.scale() / _PARTS})
