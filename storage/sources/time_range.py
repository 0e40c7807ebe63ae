"""Columns of times with cells that no calendar has, such as `infinity` of PostgreSQL.

Polars keeps such a cell as a number, and panics when it computes with it or writes it as text.
"""

from __future__ import annotations

import re
from datetime import date
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from storage.schemas import DataError

_OFFSET = re.compile(r"[+-]\d\d:?\d\d")
_EPOCH = date(1970, 1, 1)
_FIRST_DAY, _LAST_DAY = (date.min - _EPOCH).days, (date.max - _EPOCH).days
_UNITS_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_TEXT = {True: "%Y-%m-%dT%H:%M:%S%.f+00:00", False: "%Y-%m-%d %H:%M:%S%.f"}  # by whether the type has a zone


def with_representable_times(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table in which every column of times with a cell outside the years 1 to 9999 is text.

    Its other cells are ISO 8601. So a check refuses the row with the cell, and no other row.

    Raises:
        DataError: A type has a time zone that does not exist.
    """
    return table.with_columns(
        _representable(column) for column in table.get_columns() if column.dtype in (pl.Date, pl.Datetime)
    )


def _is_zone(name: str) -> bool:
    """Return whether Polars knows the time zone of a type: a name, or an offset that Arrow may have."""
    if _OFFSET.fullmatch(name):
        return True
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _representable(column: pl.Series) -> pl.Series:
    dtype = column.dtype
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    if zone is not None and not _is_zone(zone):
        raise DataError(
            f"column {column.name!r} has the time zone {zone!r}, which does not exist; correct it in the source"
        )
    per_day = _UNITS_PER_DAY[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1
    numbers = column.to_physical()
    is_inside = numbers.is_between(_FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day, closed="left")
    if is_inside.all():
        return column
    inside = pl.select(pl.when(is_inside).then(column)).to_series()
    if isinstance(dtype, pl.Datetime):
        local = inside if zone is None else inside.dt.convert_time_zone("UTC")
        texts = local.dt.to_string(_TEXT[zone is not None])
    else:
        texts = inside.dt.to_string("%Y-%m-%d")
    outside = pl.format("outside the calendar: {}", numbers)
    return pl.select(pl.when(is_inside).then(texts).otherwise(outside).alias(column.name)).to_series()
