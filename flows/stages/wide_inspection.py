"""Columns of a day in an unknown table: hours by the clock, or periods counted from the start of the day."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from model.checks.day_columns import ColumnOrderError, column_positions, repeated_columns
from model.checks.wide_tables import HOURS, PERIODS

_BY_CLOCK = {24: "1h", 48: "30m", 96: "15m"}
_COUNTED = {23: "1h", 25: "1h", 46: "30m", 50: "30m", 92: "15m", 100: "15m"}


@dataclass(frozen=True)
class DayColumns:
    """Columns of a day.

    Attributes:
        kind: "hours" or "periods".
        columns: Columns in the order of the day, with those of a repeated hour behind the hour that they repeat.
        repeated_hour: Columns of a repeated hour.
        frequency: Length of a period.
        question: What the table leaves open.
    """

    kind: str
    columns: tuple[str, ...]
    repeated_hour: tuple[str, ...]
    frequency: str
    question: str | None = None


def find_day_columns(table: pl.DataFrame, names: list[str], values: list[str]) -> DayColumns | None:
    """Return the columns of a day, None if the table has none.

    Args:
        table: A table of texts.
        names: Columns that may be of a day, in the order of the table. An empty one may be that of a repeated hour.
        values: Those of them that hold numbers.
    """
    values = [name for name in names if name in values]
    numbered = [name for name in names if re.search(r"[0-9]", name)]
    if len([name for name in numbered if name in values]) < 23:
        # Columns without numbers in their names are in the order of the day.
        return _of_count(values, ()) if len(values) in _BY_CLOCK or len(values) in _COUNTED else None
    repeated = tuple(repeated_columns(numbered))
    by_clock = [name for name in numbered if name not in repeated]
    if len(by_clock) == 25 and not repeated:
        return _with_column_25(table, by_clock)
    if len(by_clock) in _BY_CLOCK or (len(by_clock) in _COUNTED and not repeated):
        return _of_count(by_clock, repeated)
    return None


def _of_count(by_clock: list[str], repeated: tuple[str, ...]) -> DayColumns:
    """Return the columns as hours or periods by their number."""
    kind = HOURS if len(by_clock) in _BY_CLOCK else PERIODS
    frequency = (_BY_CLOCK | _COUNTED)[len(by_clock)]
    columns, question = _ordered(by_clock)
    return DayColumns(kind, tuple([*columns, *repeated]), repeated, frequency, question)


def _ordered(by_clock: list[str]) -> tuple[list[str], str | None]:
    try:
        positions = column_positions(by_clock)
    except ColumnOrderError as error:
        return by_clock, f"order of the columns: {error}"
    return [name for _, name in sorted(zip(positions, by_clock, strict=True))], None


def _with_column_25(table: pl.DataFrame, by_clock: list[str]) -> DayColumns:
    """Return 25 columns as periods, or as 24 hours with the repeated one last, as a day of 23 hours shows it."""
    columns, question = _ordered(by_clock)
    if question is not None:
        return DayColumns(PERIODS, tuple(columns), (), "1h", question)
    is_filled = table.select((pl.col(name).str.strip_chars() != "").fill_null(False) for name in columns)
    short = is_filled.filter(pl.sum_horizontal(pl.all()) == 23)
    if short.is_empty():
        question = (
            f"periods counted from the start of the day? If {columns[-1]!r} is the repeated hour instead, set wide = "
            '"hours" and repeated_hour, and list it behind the hour that it repeats'
        )
        return DayColumns(PERIODS, tuple(columns), (), "1h", question)
    if not short[columns[-2]].any():
        return DayColumns(PERIODS, tuple(columns), (), "1h")
    skipped = next(name for name in columns if not short[name].any())
    at = columns.index(skipped) + 1
    question = f"{columns[-1]!r} must stand behind the hour that it repeats: in the US the one before {skipped!r}"
    return DayColumns(HOURS, (*columns[:at], columns[-1], *columns[at:-1]), (columns[-1],), "1h", question)
