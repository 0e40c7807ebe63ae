"""Spread of coarser periods over those of the pipeline: an hourly value over four quarters of an hour.

European day-ahead prices were hourly until 2025-09-30 and have been quarter-hourly since. Which length a period has is
found from the times of the rows, by the rule of `FinerRows.resolutions` within each hour.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.checks.finer_rows import FinerRows
from model.timegrid import MINUTE, TimeGrid, default_offset
from storage.schemas import INSTANT

_HOUR = 60 * MINUTE
_ROW = ":row"


class SpreadRows(NamedTuple):
    """M rows, one per period of the pipeline, from N rows read.

    Attributes:
        columns: Columns series_id, valid_time, available_at and values.
        source: Row read that each row comes from, ascending, shape (M,).
    """

    columns: pl.DataFrame
    source: NDArray[np.int64]


def spread_periods(
    columns: pl.DataFrame, usable: pl.Series, method: str, grid: TimeGrid, has_availability: bool
) -> SpreadRows:
    """Return one row per period of the grid.

    All parts of a period become known with it: at the end of the whole period, plus the feed's delay.

    Args:
        columns: Columns series_id, valid_time, available_at and values. N rows.
        usable: Mask of rows whose time can be used, shape (N,).
        method: "repeat": each part has the value. "divide": the parts share it equally.
        grid: Grid of the pipeline, of 15m or 30m.
        has_availability: True if the feed has a column of availability, which is kept as it is.
    """
    assert grid.step is not None
    parts = _count_parts(columns, usable, grid)
    source = np.repeat(np.arange(len(columns)), parts)
    if len(source) == len(columns):
        return SpreadRows(columns, source)
    part = np.arange(len(source)) - np.repeat(np.cumsum(parts) - parts, parts)
    spread = columns[source].with_columns(
        (pl.col("valid_time").dt.epoch("us") + pl.lit(pl.Series(part * grid.step))).cast(INSTANT)
    )
    if not has_availability:
        longer = pl.Series((parts[source] - 1) * grid.step)
        spread = spread.with_columns((pl.col("available_at").dt.epoch("us") + pl.lit(longer)).cast(INSTANT))
    if method == "divide":
        spread = spread.with_columns(pl.col(name) / pl.lit(pl.Series(parts[source])) for name in columns.columns[3:])
    return SpreadRows(spread, source)


def _count_parts(columns: pl.DataFrame, usable: pl.Series, grid: TimeGrid) -> NDArray[np.int64]:
    """Return the number of the grid's periods that each row covers, shape (N,)."""
    assert grid.step is not None
    hours = TimeGrid("1h", grid.timezone, None, offset=default_offset("1h", grid.timezone))
    finer = FinerRows.of(columns.with_row_index(_ROW).filter(usable), hours)
    length = finer.resolutions()[finer.period] if len(finer.begins) else np.zeros(0, np.int64)
    parts = np.ones(len(columns), np.int64)
    is_coarser = (length > grid.step) & (length <= _HOUR) & (length % grid.step == 0)
    parts[finer.rows[_ROW].to_numpy()[is_coarser]] = length[is_coarser] // grid.step
    return parts
