"""Conversion between the wall clock of a time zone, or a fixed offset from UTC, and instants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import polars as pl

from model.checks.repeated_hour import Fold, choose_passes, find_neighbours
from storage.schemas.offsets import parse_offset

_NONE = pl.Series([], dtype=pl.UInt32)
_HOUR = timedelta(hours=1)


class WallClockTimes(NamedTuple):
    """Instants of N wall-clock times, and the numbers of the rows at clock changes.

    Attributes:
        instants: Instants (UTC). Null where a time is missing, skipped or open.
        skipped: Rows with a time that does not exist.
        open: Rows with a repeated time whose instant the rows do not show.
        single: Rows with a repeated time that the source lists once, which count as the first instant.
        lists_both: Whether the feed lists a repeated time twice.
    """

    instants: pl.Series
    skipped: pl.Series = _NONE
    open: pl.Series = _NONE
    single: pl.Series = _NONE
    lists_both: bool = False


class LatestInstants(NamedTuple):
    """Instants of N wall-clock times, none of them too early.

    Attributes:
        instants: Instants (UTC). Null where a time is missing.
        unclear: Rows with a time that a clock change repeats or skips.
    """

    instants: pl.Series
    unclear: pl.Series = _NONE


def to_instants(
    times: pl.Series, zone: str, identify: Callable[[pl.Series], pl.DataFrame], fold: Fold = "auto"
) -> WallClockTimes:
    """Return wall-clock times in `zone` as instants. Times with a zone of their own keep their instant.

    Args:
        times: N datetimes, naive or with a zone.
        zone: IANA name or offset of naive times.
        identify: Function that returns the columns series, file, :available (us) and :is_unclear of rows by their
            numbers. Only rows near a repeated time are requested.
        fold: Instant of a repeated time that the rows leave open.
    """
    known = _known_instants(times, zone)
    if known is not None:
        return WallClockTimes(known)
    instants = times.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")
    is_unclear = instants.is_null() & times.is_not_null()
    if not is_unclear.any():
        return WallClockTimes(instants)
    # Only the few rows at a clock change need the slower conversions.
    unclear = is_unclear.arg_true()
    first, second = _both_instants(times.gather(unclear), zone)
    is_skipped = first.is_null()
    skipped, repeated = unclear.filter(is_skipped), unclear.filter(~is_skipped)
    if repeated.is_empty():
        return WallClockTimes(instants, skipped)
    first, second = first.filter(~is_skipped), second.filter(~is_skipped)
    near = find_neighbours(times, repeated, (second - first).dt.total_microseconds())
    keys = identify(near[":row"])
    passes = choose_passes(near.hstack(keys), [name for name in keys.columns if not name.startswith(":")], fold)
    choice = passes.rows.sort(":row")
    is_second = choice["is_second"]
    resolved = pl.select(pl.when(is_second).then(second).when(~is_second).then(first)).to_series()
    return WallClockTimes(
        instants.scatter(repeated, resolved),
        skipped,
        repeated.filter(is_second.is_null()),
        repeated.filter(choice["is_single"]),
        passes.lists_both,
    )


def to_latest_instants(times: pl.Series, zone: str) -> LatestInstants:
    """Return wall-clock times as instants, a repeated or skipped time as the later instant that it may mean."""
    known = _known_instants(times, zone)
    if known is not None:
        return LatestInstants(known)
    instants = times.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")
    unclear = (instants.is_null() & times.is_not_null()).arg_true()
    if unclear.is_empty():
        return LatestInstants(instants)
    local = times.gather(unclear)
    latest = _both_instants(local, zone)[1]
    # A clock that was not set forward shows the skipped time an hour after the time an hour earlier.
    not_set = _both_instants(local - _HOUR, zone)[1] + _HOUR
    return LatestInstants(instants.scatter(unclear, latest.zip_with(latest.is_not_null(), not_set)), unclear)


def is_repeated(times: pl.Series, zone: str) -> pl.Series:
    """Return which wall-clock times a clock change repeats."""
    if not has_clock_changes(times, zone):
        return pl.repeat(False, len(times), dtype=pl.Boolean, eager=True)
    first, second = _both_instants(times, zone)
    return (first != second).fill_null(False)


def has_clock_changes(times: pl.Series, zone: str) -> bool:
    """Return whether the times are wall-clock times of a zone whose clocks may change."""
    is_naive = isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is None
    return is_naive and zone != "UTC" and parse_offset(zone) is None


def to_wall_clock(instants: pl.Series, zone: str) -> pl.Series:
    """Return the naive wall-clock times of instants."""
    offset = parse_offset(zone)
    if offset is not None:
        return instants.dt.convert_time_zone("UTC").dt.replace_time_zone(None) + offset
    return instants.dt.convert_time_zone(zone).dt.replace_time_zone(None)


def _known_instants(times: pl.Series, zone: str) -> pl.Series | None:
    """Return the instants of times that no clock change concerns, None for naive times of a time zone."""
    own_zone = times.dtype.time_zone if isinstance(times.dtype, pl.Datetime) else None
    if own_zone:
        return times if own_zone == "UTC" else times.dt.convert_time_zone("UTC")
    offset = parse_offset(zone)
    if offset is not None:
        return (times - offset).dt.replace_time_zone("UTC")
    return times.dt.replace_time_zone("UTC") if zone == "UTC" else None


def _both_instants(times: pl.Series, zone: str) -> tuple[pl.Series, pl.Series]:
    """Return the first and the second instant of wall-clock times, null where a time does not exist."""
    first, second = (
        times.dt.replace_time_zone(zone, ambiguous=which, non_existent="null").dt.convert_time_zone("UTC")
        for which in ("earliest", "latest")
    )
    return first, second
