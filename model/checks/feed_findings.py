"""Findings about a whole feed: numbers that look otherwise than declared, and values that are known too early."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time

import polars as pl

from model.checks.feed_shape import FeedShape
from model.checks.findings import Finding
from model.checks.number_texts import count_thousands_dots
from model.checks.reasons import DUPLICATE
from model.checks.series_matching import similar_within
from model.checks.wall_clock import to_wall_clock
from model.timegrid import TimeGrid
from storage.schemas import INSTANT, distinct_ids
from storage.schemas.suggestions import shown_names

_SAMPLE = 1000  # Rows that must look so before all rows are searched.
_MOST_REPEATED = 0.25  # Share of the rows, and of the periods.
_SHOWN = 3  # Ids, or groups of them.
_FEWEST_DAYS = 3  # Fewer midnights are no evidence.


def thousands_findings(rows: pl.DataFrame, times: pl.Series, feed: FeedShape) -> Iterator[Finding]:
    """Yield a finding for each text column whose points look like thousands separators, such as 9.000 for 9000.

    Args:
        rows: The table as it was read.
        times: Valid time of each row, null if it cannot be read.
        feed: Layout of the table. A declared decimal mark is no finding.
    """
    if feed.text.decimal is not None or feed.text.thousands is not None or times.null_count() == len(times):
        return
    for name in feed.values:
        count = count_thousands_dots(rows[name]) if rows[name].dtype == pl.String else 0
        if count:
            first = rows[name].filter(rows[name].str.contains(".", literal=True).fill_null(False))[0]
            detail = (
                f"all {count} values of {name} with a point have three digits after it (first: {first.strip()!r}), "
                'which looks like a thousands separator. Set thousands = "." in [feed.options], or decimal = "." if '
                "the point is the decimal mark"
            )
            yield _warning("number_format", count, times, detail)


def similar_id_findings(accepted: pl.DataFrame, feed: FeedShape) -> Iterator[Finding]:
    """Yield a finding if ids of a feed differ only by case, blanks or zeros: perhaps one series under two ids.

    Args:
        accepted: Columns series_id and valid_time of the accepted rows.
        feed: Layout of the table.
    """
    if feed.series_id is None:
        return
    groups = similar_within(distinct_ids(accepted["series_id"]))
    if groups:
        names = [name for group in groups for name in group]
        rows = accepted.filter(pl.col("series_id").is_in(names))
        shown = ", ".join(" and ".join(map(repr, group)) for group in groups[:_SHOWN])
        more = f" and {len(groups) - _SHOWN:,} more" if len(groups) > _SHOWN else ""
        detail = (
            f"{feed.series_id} differs only by case, blanks or zeros: {shown}{more}. Each is a series of its own. If "
            "they are the same, write them the same way in the source"
        )
        yield _warning("similar_ids", len(rows), rows["valid_time"], detail)


def vintage_findings(columns: pl.DataFrame, reason: pl.Series | None, feed: FeedShape) -> Iterator[Finding]:
    """Yield a finding if a feed of forecasts has several values for many periods: those of several issue times.

    Only the last one of each is kept, and it counts as known at every issue time.

    Args:
        columns: Columns of the feed in the types of the history.
        reason: Reason why each row is refused, null where it is not. None if no row is.
        feed: Layout of the table.
    """
    if feed.role != "known_future" or feed.available_at is not None or feed.repeats == "last" or reason is None:
        return
    is_repeated = (reason == DUPLICATE).fill_null(False)
    if is_repeated.sum() <= _MOST_REPEATED * len(reason):
        return
    usable = columns.filter(is_repeated | reason.is_null())
    differs = usable.group_by("series_id", "valid_time").agg(differs=pl.struct(feed.values).n_unique() > 1)
    times = differs.filter("differs")["valid_time"]
    if len(times) > _MOST_REPEATED * len(differs):
        detail = (
            f"{len(times):,} periods come several times with different values, as forecasts of several issue times do. "
            "Only the last value of each is kept, and a training takes it for known at every issue time. Set "
            'available_at to the column of the issue time, or repeats = "last" to confirm'
        )
        yield _warning("vintages", len(times), times, detail)


def midnight_findings(rows: pl.DataFrame, columns: pl.DataFrame, feed: FeedShape) -> Iterator[Finding]:
    """Yield a finding if all times of `available_at` are midnight, which dates become in many tools.

    Args:
        rows: The table as it was read.
        columns: Its columns in the types of the history.
        feed: Layout of the table.
    """
    if feed.available_at is None or _has_dates(rows[feed.available_at]):
        return
    known = columns["available_at"]
    if not _are_midnights(known.head(_SAMPLE), feed) or not _are_midnights(known, feed):
        return
    days = known.n_unique()
    if days >= _FEWEST_DAYS:
        detail = (
            f"all {days} times of {feed.available_at} are midnight in {feed.time_zone}. If they are dates, values "
            "count as known a day too early: deliver them as dates, which mean the end of the day"
        )
        times = columns["valid_time"].drop_nulls()
        if len(times):
            yield _warning("available_at", len(known), times, detail)


def _has_dates(column: pl.Series) -> bool:
    """Return whether a column holds dates without a time of day. The times of such dates are ends of days."""
    if column.dtype != pl.String:
        return column.dtype == pl.Date
    return bool((~column.str.contains(":", literal=True)).any())


def _are_midnights(times: pl.Series, feed: FeedShape) -> bool:
    local = to_wall_clock(times.drop_nulls(), feed.time_zone)
    return len(local) > 0 and bool((local.dt.time() == time()).all())


def early_reasons(accepted: pl.DataFrame, feed: FeedShape, grid: TimeGrid) -> tuple[pl.Series | None, list[Finding]]:
    """Return the accepted rows that claim to be known before their period ends: to refuse, and as findings.

    A business day has its price before it ends, so only its beginning counts.

    Args:
        accepted: Columns series_id, valid_time, available_at and values.
        feed: Layout of the table.
        grid: Grid of the pipeline.

    Returns:
        The reason why each row is refused, null where it is not, or None if no row is. The findings.
    """
    if feed.available_at is None or feed.early == "accept" or feed.role == "known_future" or accepted.is_empty():
        return None, []
    times = accepted["valid_time"]
    end, limit = (times, "begins") if grid.frequency == "1b" else (_period_ends(times, grid), "ends")
    is_early = (accepted["available_at"] < end).fill_null(False)
    if not is_early.any():
        return None, []
    problem = f'{feed.available_at} is before the period {limit} (see the key "early" of the feed)'
    if feed.early == "refuse":
        return pl.select(pl.when(is_early).then(pl.lit(problem))).to_series(), []
    count = int(is_early.sum() or 0)
    return None, [_warning("early", count, times.filter(is_early), f"{count} values are known too early: {problem}")]


def _period_ends(times: pl.Series, grid: TimeGrid) -> pl.Series:
    return pl.Series(grid.end(grid.index(times.to_physical().to_numpy()))).cast(INSTANT)


def emptied_finding(emptied: pl.DataFrame) -> Finding:
    """Return the finding about rows that are empty in the source now and had a value in the history.

    Args:
        emptied: Such rows with series_id and valid_time, at least one.
    """
    first = emptied.sort("valid_time").row(0, named=True)
    of_series = f" of {emptied['series_id'].n_unique():,} series" if first["series_id"] is not None else ""
    detail = (
        f"{len(emptied):,} rows{of_series} that had a value are empty in the source now, which withdraws it. "
        "If that is wrong, correct the source and ingest again"
    )
    return _warning("emptied", len(emptied), emptied["valid_time"], detail)


def cut_finding(series: pl.DataFrame, start: datetime) -> Finding:
    """Return the finding about series that begin with the time that was requested, so that older rows may be missing.

    Args:
        series: Such series with series_id and first, at least one.
        start: First time that was requested.
    """
    detail = (
        f"the rows of {shown_names(series['series_id'], _SHOWN)} begin with the first time that was requested, "
        f"{start:%Y-%m-%d %H:%M} UTC, and the history has none close before. Earlier rows of the source were not read. "
        "If it has some, raise overlap in the feed for one ingest"
    )
    return _warning("cut", len(series), series["first"], detail)


def _warning(check: str, rows: int, times: pl.Series, detail: str) -> Finding:
    """Return a finding about rows of all series at some times, of which at least one is known."""
    first, last = times.to_frame("t").select(first=pl.col("t").min(), last=pl.col("t").max()).row(0)
    return Finding(check, "warn", None, rows, first, last, detail)
