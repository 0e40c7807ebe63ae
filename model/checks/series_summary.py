"""Sums and ends of all series of a feed: enough for the checks that compare series or long periods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.checks.series_table import FlatSeries

#: Newest step of a series without values.
NO_VALUE = np.iinfo(np.int64).min


@dataclass(frozen=True)
class SeriesSummary:
    """S series with D days in all, one series after the other.

    Attributes:
        first: First step of each series, shape (S,).
        last: Last step of each series, shape (S,).
        newest: Last step with a value of each series, NO_VALUE without any, shape (S,).
        total: Sum of the values of each series, shape (S,).
        mean: Mean of each series as in `FlatSeries.mean`, shape (S,).
        day_total: Sum of the values of each day, shape (D,).
        day_count: Number of values of each day, shape (D,).
        day_peak: Largest absolute value of each day, NaN without values, shape (D,).
        day_series: Number of the series of each day, shape (D,).
        day_row: First row of each day, shape (D,).
        day_step: First step of each day, shape (D,).
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    newest: NDArray[np.int64]
    total: NDArray[np.float64]
    mean: NDArray[np.float64]
    day_total: NDArray[np.float64]
    day_count: NDArray[np.int64]
    day_peak: NDArray[np.float64]
    day_series: NDArray[np.int32]
    day_row: NDArray[np.int64]
    day_step: NDArray[np.int64]

    @classmethod
    def of_block(cls, block: FlatSeries, steps_per_day: int) -> SeriesSummary:
        """Return the summary of one block."""
        day = block.steps // steps_per_day
        begins = np.flatnonzero((np.diff(day, prepend=day[0] - 1) != 0) | (np.diff(block.series, prepend=-1) != 0))
        known_steps = np.where(block.is_present, block.steps, NO_VALUE)
        return cls(
            first=block.steps[block.bounds[:-1]],
            last=block.steps[block.bounds[1:] - 1],
            newest=np.maximum.reduceat(known_steps, block.bounds[:-1]),
            total=block.total,
            mean=block.mean,
            day_total=np.add.reduceat(block.filled, begins),
            day_count=np.add.reduceat(block.is_present, begins, dtype=np.int64),
            day_peak=np.fmax.reduceat(np.abs(block.values), begins),
            day_series=block.series[begins] + block.first_series,
            day_row=begins + block.first_row,
            day_step=block.steps[begins],
        )

    @classmethod
    def concatenate(cls, summaries: list[SeriesSummary]) -> SeriesSummary:
        """Return the summary of all blocks together."""
        columns = ([getattr(summary, name) for summary in summaries] for name in cls.__dataclass_fields__)
        return cls(*map(np.concatenate, columns))
