"""Findings about a feed's rows at clock changes: times that do not exist, and a repeated hour that is listed once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from model.checks.feed_shape import FeedShape
from model.checks.findings import Finding
from model.checks.number_texts import value_texts
from model.checks.reasons import cell_texts
from model.checks.wall_clock import WallClockTimes
from storage.schemas.offsets import offset_text

CHECK = "clock_change"
_FORMAT = "%Y-%m-%d %H:%M"


def skipped_time_reason(feed: FeedShape) -> str:
    """Return why a row with a time that a clock change skips is refused."""
    return f"{_period_text(feed)} does not exist in {feed.time_zone} (clock change)"


def repeated_time_reason(feed: FeedShape) -> str:
    """Return why a row with an open repeated time is refused."""
    return (
        f"{_period_text(feed)} occurs twice in {feed.time_zone} (clock change), and the order of the rows does not "
        "show which hour it is (see fold of the feed)"
    )


def _period_text(feed: FeedShape) -> str:
    return feed.valid_time if feed.label == "start" else f"the period of {feed.valid_time}"


def find_clock_change_faults(
    table: pl.DataFrame, times: pl.Series, read: WallClockTimes, feed: FeedShape
) -> tuple[Finding, ...]:
    """Return the findings about rows at clock changes.

    A feed in standard time all year has values at times that the zone skips, and never lists a time twice.

    Args:
        table: The table as it was read.
        times: Wall-clock times that name the periods.
        read: The instants of these times.
        feed: Layout of the table.
    """
    findings = []
    skipped = read.skipped.filter(_has_value(table, read.skipped, feed))
    # A feed that lists the repeated hour twice follows the clock. It only fills in the skipped hour.
    if len(skipped) and not read.lists_both:
        findings.append(_skipped_time(times.gather(skipped), feed))
    if len(read.single):
        single = times.gather(read.single)
        others = int(times.gather(read.open).is_in(single.implode()).sum() or 0)
        findings.append(_single_hour(single, read.instants.gather(read.single), others, feed))
    return tuple(findings)


def find_unclear_publications(
    table: pl.DataFrame, valid_times: pl.Series, unclear: pl.Series, feed: FeedShape
) -> tuple[Finding, ...]:
    """Return the finding about times of availability that a clock change repeats or skips.

    Args:
        table: The table as it was read.
        valid_times: Valid time of each row (UTC), null if it cannot be read.
        unclear: Rows with such a time.
        feed: Layout of the table.
    """
    periods = valid_times.gather(unclear).drop_nulls()
    if feed.available_at is None or periods.is_empty():
        return ()
    first = cell_texts(table[feed.available_at].gather(unclear.head(1)))[0]
    return (
        Finding(
            CHECK, "warn", None, len(unclear), *_range(periods),
            f"{len(unclear):,} times of {feed.available_at} are in an hour that the clock of {feed.time_zone} repeats "
            f"or skips (first: {first}). They count as the later instant, so that no value is known too early. Write "
            "them with an offset from UTC to tell the two instants apart",
        ),
    )  # fmt: skip


def _has_value(table: pl.DataFrame, rows: pl.Series, feed: FeedShape) -> pl.Series:
    cells = pl.DataFrame([value_texts(table[name].gather(rows).cast(pl.String), feed.text) for name in feed.values])
    is_present = [
        pl.col(name).is_not_null() & ~pl.col(name).str.to_lowercase().is_in(["", "nan"]) for name in cells.columns
    ]
    return cells.select(pl.any_horizontal(is_present)).to_series()


def _skipped_time(times: pl.Series, feed: FeedShape) -> Finding:
    zone = ZoneInfo(feed.time_zone)
    first, last = (time.replace(tzinfo=zone) for time in _range(times))
    offset = offset_text(first.utcoffset() or timedelta(0))
    return Finding(
        CHECK, "warn", None, len(times), first.astimezone(UTC), last.astimezone(UTC),
        f"{first:{_FORMAT}} does not exist in {feed.time_zone}, but the feed has a value for it. If the feed is in "
        f'standard time all year, its other values are an hour off in summer: set fixed_offset = "{offset}" instead of '
        "time_zone",
    )  # fmt: skip


def _single_hour(times: pl.Series, instants: pl.Series, others: int, feed: FeedShape) -> Finding:
    """Return the finding about repeated times that rows list once.

    Args:
        times: These times.
        instants: Their instants.
        others: Number of other rows with such a time, which are refused.
        feed: Layout of the table.
    """
    time = _range(times)[0]
    if others:
        return Finding(
            CHECK, "warn", None, len(times), *_range(instants),
            f"{time:{_FORMAT}} occurs twice in {feed.time_zone}. A sequence of rows that lists it once counts as the "
            f"first of the two hours; {others} other rows with such a time are refused, such as those of a file that "
            'begins within the hour. Set fold = "refuse" if the first hour is wrong',
        )  # fmt: skip
    # The second of the two hours is in standard time.
    standard = time.replace(tzinfo=ZoneInfo(feed.time_zone), fold=1).utcoffset()
    return Finding(
        CHECK, "warn", None, len(times), *_range(instants),
        f"{time:{_FORMAT}} occurs twice in {feed.time_zone}, but the feed lists it once; the value counts as the first "
        'of the two hours. Confirm it with fold = "first", or set "second" or "refuse". For a feed in standard time '
        f'all year, set fixed_offset = "{offset_text(standard or timedelta(0))}" instead of time_zone',
    )  # fmt: skip


def _range(times: pl.Series) -> tuple[datetime, datetime]:
    """Return the first and the last of some times."""
    first, last = times.min(), times.max()
    assert isinstance(first, datetime) and isinstance(last, datetime)
    return first, last
