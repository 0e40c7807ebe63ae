"""Rows of a feed that is finer than the pipeline's grid, and the resolution in which each period arrived.

A feed may change its resolution: European day-ahead prices were hourly until 2025-09-30 and quarter-hourly after it.
Therefore the resolution is found period by period, from the times of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.timegrid import TimeGrid
from storage.schemas import is_sorted

#: Availability (us) of a row that was always known.
ALWAYS = np.iinfo(np.int64).min

_SINGLE = np.iinfo(np.int64).max  # resolution of a period with one value, at its start
_LASTING_RUN = 3  # Periods in a row of one resolution. A shorter run may be a finer resolution with holes.


@dataclass(frozen=True)
class FinerRows:
    """M rows in P periods of the grid, sorted by series, time and availability.

    Attributes:
        rows: A row number, series_id, valid_time, available_at and values.
        step: Period of each row, shape (M,).
        offset: Microseconds from the start of the period to the row, shape (M,).
        length: Length of the period in microseconds, shape (M,).
        available: Microseconds at which each row became known, shape (M,).
        begins: First row of each period, shape (P,).
    """

    rows: pl.DataFrame
    step: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    available: NDArray[np.int64]
    begins: NDArray[np.int64]

    @classmethod
    def of(cls, rows: pl.DataFrame, grid: TimeGrid) -> FinerRows:
        """Sort rows into periods.

        Args:
            rows: A row number, series_id, valid_time, available_at and values, in this order.
            grid: Grid of the pipeline.
        """
        if not is_sorted(rows):
            rows = rows.sort("series_id", "valid_time", "available_at", maintain_order=True)
        times = rows["valid_time"].to_physical().to_numpy()
        step = grid.index(times)
        start, end = grid.start(step), grid.end(step)
        available = rows["available_at"].to_physical().fill_null(ALWAYS).to_numpy()
        series = rows["series_id"].rle_id().to_numpy()
        begins = np.flatnonzero(differs_from_previous(series) | differs_from_previous(step))
        return cls(rows, step, times - start, end - start, available, begins)

    @property
    def value_columns(self) -> list[str]:
        """Names of the value columns."""
        return self.rows.columns[4:]

    @cached_property
    def period(self) -> NDArray[np.int64]:
        """Number of the period of each row, shape (M,)."""
        return np.repeat(np.arange(len(self.begins)), np.diff(self.begins, append=len(self.rows)))

    @cached_property
    def series(self) -> NDArray[np.int64]:
        """Number of the series of each period, shape (P,)."""
        return self.rows["series_id"].rle_id().to_numpy()[self.begins].astype(np.int64)

    def count_times(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return how many different times each period has among the rows of a mask (M,), shape (P,)."""
        period, offset = self.period[mask], self.offset[mask]
        is_new = differs_from_previous(period) | differs_from_previous(offset)
        return np.bincount(period[is_new], minlength=len(self.begins))

    def resolutions(self) -> NDArray[np.int64]:
        """Return the length of the parts of each period in microseconds, shape (P,).

        A period with holes does not show its resolution: half hours may be quarters with holes, and one value at the
        full hour may be the first of four quarters. So a resolution counts where it lasts for some periods. Elsewhere
        the finest lasting resolution around counts.
        """
        if not len(self.begins):
            return np.zeros(0, np.int64)
        length = self.length[self.begins]
        unit = np.gcd(np.gcd.reduceat(self.offset, self.begins), length)
        # Local days differ in length, but one value per day is one resolution.
        is_single = (self.count_times(np.ones(len(self.rows), bool)) == 1) & (self.offset[self.begins] == 0)
        unit[is_single] = _SINGLE
        run = np.cumsum(differs_from_previous(unit) | differs_from_previous(self.series)) - 1
        lasts = np.bincount(run)[run] >= _LASTING_RUN
        before = _last_lasting(unit, lasts, self.series)
        after = _last_lasting(unit[::-1], lasts[::-1], self.series[::-1])[::-1]
        finest = np.minimum(before, after)
        first_periods = np.flatnonzero(differs_from_previous(self.series))
        unknown = finest == _SINGLE
        finest[unknown] = np.minimum.reduceat(unit, first_periods)[self.series][unknown]
        resolution = np.where(lasts, unit, np.minimum(unit, finest))
        divisor = np.where(is_single, length, np.gcd(unit, length))
        return np.where(resolution == _SINGLE, length, np.gcd(resolution, divisor))


def differs_from_previous(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return whether each value differs from the one before. The first one does."""
    is_new = np.ones(len(values), bool)
    is_new[1:] = values[1:] != values[:-1]
    return is_new


def _last_lasting(unit: NDArray[np.int64], lasts: NDArray[np.bool_], series: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the last lasting resolution up to each period of a series, shape (P,). _SINGLE if there is none."""
    row = np.maximum.accumulate(np.where(lasts, np.arange(len(unit)), -1))
    return np.where((row >= 0) & (series[row] == series), unit[row], _SINGLE)
