"""Feeds that are finer than the pipeline's grid, and their aggregation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from model.checks.feed_rows import CheckedRows, check_rows
from model.checks.feed_shape import FeedShape
from model.timegrid import TimeGrid

LATE = datetime(2100, 1, 1, tzinfo=UTC)
HOURS = TimeGrid("1h", "Europe/Madrid", None)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def feed_shape(method: str | None = "sum", **changes: Any) -> FeedShape:
    """Return the layout of a target table with the columns id, t and y."""
    defaults: dict[str, Any] = {
        "name": "d", "role": "target", "series_id": "id", "valid_time": "t", "values": ("y",), "time_zone": "UTC",
        "available_after": timedelta(0), "available_at": None, "resample": method,
    }  # fmt: skip
    return FeedShape(**defaults | changes)


def feed_rows(times: Sequence[Any], values: Any = None, **columns: Any) -> pl.DataFrame:
    """Return a table of series a. Values count from 1 by default."""
    values = np.arange(1.0, len(times) + 1) if values is None else values
    return pl.DataFrame({"id": "a", "t": times, "y": values, **columns})


def instants(first: datetime, step: timedelta, count: int) -> list[datetime]:
    """Return `count` instants from `first` on."""
    return [first + i * step for i in range(count)]


def aggregate(
    frame: pl.DataFrame,
    method: str = "sum",
    as_of: datetime = LATE,
    grid: TimeGrid = HOURS,
    bounds: tuple[float | None, float | None] = (None, None),
    **changes: Any,
) -> CheckedRows:
    """Check and aggregate a table, and assert that no row is lost and each refused row has a reason."""
    result = check_rows(frame, feed_shape(method, **changes), grid, bounds, as_of)
    assert result.read == len(frame)
    assert result.refused["reason"].null_count() == 0
    return result


def refusal_reasons(result: CheckedRows) -> set[str]:
    """Return the different reasons of the refused rows."""
    return set(result.refused["reason"])
