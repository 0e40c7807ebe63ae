"""Times that name the end of their period: `label = "end"` of a feed.

Local hours have two conventions, which differ next to a clock change. Hours may be numbered from the start of the day,
so that hour 2 begins at 1:00 by the clock. Or the time is what a clock shows when the period ends.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl


def names_clock_hours(labels: pl.Series, length: timedelta, zone: str, group_by: list[pl.Series]) -> bool:
    """Return whether the labels name local hours by the clock time of their beginning plus their length.

    Else they are what a clock shows at the end. The convention counts that fits the rows at clock changes better:
    a time that a change skips should not exist, one that it repeats may exist twice, any other once.

    Args:
        labels: Wall-clock times of the ends.
        length: Length of a period.
        zone: Zone of the labels.
        group_by: Columns whose equal values make rows comparable, such as the series.
    """
    starts = labels - length
    clocks = {name: _occurrences(times, zone) for name, times in (("start", starts), ("end", labels))}
    near = (labels.is_not_null() & ((clocks["start"] != 1) | (clocks["end"] != 1))).arg_true()
    if near.is_empty():
        return True
    keys = [column.gather(near).alias(f"k{number}") for number, column in enumerate(group_by)]
    misfits = {
        name: _misfits(times.gather(near), clocks[name].gather(near), keys)
        for name, times in (("start", starts), ("end", labels))
    }
    return misfits["start"] <= misfits["end"]


def _occurrences(times: pl.Series, zone: str) -> pl.Series:
    """Return how often each wall-clock time occurs in a zone: 0, 1 or 2 times."""
    unique = times.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    if unique.null_count() == times.null_count():
        return pl.repeat(1, len(times), dtype=pl.Int8, eager=True)
    exists = times.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").is_not_null()
    return pl.select(pl.when(unique.is_not_null()).then(1).when(exists).then(2).otherwise(0).cast(pl.Int8)).to_series()


def _misfits(times: pl.Series, occurrences: pl.Series, keys: list[pl.Series]) -> int:
    """Return how many rows are more than the occurrences of their time."""
    frame = pl.DataFrame([times.alias("t"), occurrences.alias("n"), *keys])
    counts = frame.group_by("t", *(key.name for key in keys)).agg(rows=pl.len(), n=pl.col("n").first().cast(pl.Int64))
    return int(counts.select((pl.col("rows").cast(pl.Int64) - pl.col("n")).clip(0).sum()).item())
