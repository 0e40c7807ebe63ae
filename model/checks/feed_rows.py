"""Classification of a feed's rows: accepted as history, refused with a reason, or not available yet.

No row is lost: each row read is in exactly one of the three groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.checks.clock_changes import find_unclear_publications
from model.checks.feed_columns import history_columns
from model.checks.feed_findings import (
    early_reasons,
    midnight_findings,
    similar_id_findings,
    thousands_findings,
    vintage_findings,
)
from model.checks.feed_shape import FeedShape
from model.checks.feed_times import ValidTimes, valid_times
from model.checks.findings import Finding
from model.checks.reasons import ReasonGroup, group_reasons
from model.checks.refusals import refusal_reasons
from model.checks.resampling import aggregate_periods
from model.checks.row_places import row_place
from model.checks.sentinels import find_sentinels, sentinel_reasons
from model.checks.series import check_series
from model.checks.upsampling import spread_periods
from model.timegrid import TimeGrid
from storage.schemas import FILE, ROW_PROBLEM, DataError, distinct_ids
from storage.schemas.records import Action, SeriesMatching


class EmptyFeed(DataError):
    """The source has no rows in the requested time."""


@dataclass(frozen=True)
class CheckedRows:
    """The rows of one read, classified.

    Attributes:
        accepted: Columns series_id, valid_time, available_at and values.
        refused: The columns as they were read, and `reason`. Includes the rows that a check of series quarantines.
        later: Number of rows that are not available yet, or whose period is incomplete.
        findings: Results of the checks of whole series.
        aggregated: Number of rows that were merged into coarser periods, beyond one per period.
        matching: How the ids match the series of the target, None if all do.
        reasons: Kinds of the refused rows, the most frequent first.
    """

    accepted: pl.DataFrame
    refused: pl.DataFrame
    later: int
    findings: tuple[Finding, ...] = ()
    aggregated: int = 0
    matching: SeriesMatching | None = None
    reasons: tuple[ReasonGroup, ...] = ()

    @cached_property
    def series_ids(self) -> frozenset[str]:
        """Ids of the accepted rows."""
        return distinct_ids(self.accepted["series_id"])

    @property
    def read(self) -> int:
        """Number of rows read."""
        return len(self.accepted) + self.aggregated + len(self.refused) + self.later


@dataclass(frozen=True)
class _Selection:
    """The accepted rows, and which of the N rows read they came from.

    Attributes:
        accepted: Accepted rows.
        period: Number of the period of each accepted row. Without aggregation, a period is a row read.
        origin: Number of the period that each row read was merged into, -1 if into none, shape (N,).
        later: Mask of rows that are not available yet, shape (N,).
        reason: Why each row is refused, null if it is not, shape (N,). None if no row is.
    """

    accepted: pl.DataFrame
    period: NDArray[np.int64]
    origin: NDArray[np.int64]
    later: pl.Series
    reason: pl.Series | None

    def without(self, suspect: pl.Series) -> _Selection:
        """Return the selection without the accepted rows that have a reason in `suspect`, null for the others."""
        is_suspect = suspect.is_not_null()
        of_period = pl.repeat(None, len(self.origin), dtype=pl.String, eager=True)
        of_period = of_period.scatter(self.period[is_suspect], suspect.filter(is_suspect))
        of_row = of_period.gather(pl.Series(self.origin).replace(-1, None))
        kept = of_period.gather(self.period).is_null()
        return _Selection(
            accepted=self.accepted.filter(kept),
            period=self.period[kept],
            origin=np.where(of_row.is_null(), self.origin, -1),
            later=self.later,
            reason=_first_reason(self.reason, of_row),
        )


def check_rows(
    rows: pl.DataFrame,
    feed: FeedShape,
    grid: TimeGrid,
    bounds: tuple[float | None, float | None],
    as_of: datetime,
    season: int = 1,
    actions: dict[str, Action] | None = None,
    new_from: datetime | None = None,
) -> CheckedRows:
    """Classify the rows of a feed as of an instant.

    Naive times are local times in the feed's zone. A local time that a clock change skips is refused. The rows around a
    local time that a clock change repeats decide which instant it means. Periods of days and business days are named by
    their date, whatever the zone. A missing value (null, NaN) is information and accepted.

    Args:
        rows: The table as it was read. The source refuses the rows with a text in the column `ROW_PROBLEM`.
        feed: Layout of the table.
        grid: Grid of the pipeline.
        bounds: Physical limits of a target, None where there is none.
        as_of: Rows that become available later are only counted.
        season: Steps per season, for the checks of whole series.
        actions: Action by check of whole series, see `check_series`. None: these checks do not run.
        new_from: Valid time after which periods are new to the history, see `check_repeated_keys`.

    Raises:
        DataError: The table is empty, or a whole column has the wrong type.
    """
    actions = actions or {}
    if rows.is_empty():
        raise EmptyFeed(f"feed {feed.name!r}: the table has no rows; check its uri, query and start")
    times = valid_times(rows, feed, grid)
    columns, unclear = history_columns(rows, times.instants, feed, grid)
    files = rows.get_column(FILE, default=None)
    source = np.arange(len(rows))
    if feed.upsample:
        usable = times.instants.is_not_null() if times.problem is None else times.problem.is_null()
        usable &= times.instants.is_not_null()
        spread = spread_periods(columns, usable, feed.upsample, grid, feed.available_at is not None)
        rows, columns, source = rows[spread.source], spread.columns, spread.source
        problem = None if times.problem is None else times.problem.gather(source)
        times = ValidTimes(columns["valid_time"], problem, times.findings)
        unclear = pl.Series(np.flatnonzero(np.isin(source, unclear.to_numpy())), dtype=pl.UInt32)
    rows, source_problem = _without_hidden_columns(rows)
    reason = refusal_reasons(rows, columns, feed, grid, bounds, times.problem, source_problem, new_from)
    sentinels = list(find_sentinels(columns, feed, actions.get("sentinel", "warn")))
    reason = _first_reason(reason, sentinel_reasons(sentinels))
    later = (columns["available_at"] > as_of).fill_null(False)
    if reason is not None:
        later &= reason.is_null()
    limits = bounds if feed.role == "target" else (None, None)
    selection = _select(columns, reason, later, feed, grid, limits)
    findings: list[Finding] = []
    if actions.get("clock_change", "accept") != "accept":
        findings += [*times.findings, *find_unclear_publications(rows, columns["valid_time"], unclear, feed)]
    findings += [*thousands_findings(rows, columns["valid_time"], feed), *midnight_findings(rows, columns, feed)]
    findings += [*similar_id_findings(selection.accepted, feed), *(found.finding for found in sentinels)]
    findings += vintage_findings(columns, reason, feed)
    early, early_findings = early_reasons(selection.accepted, feed, grid)
    findings += early_findings
    if early is not None:
        selection = selection.without(early)
    for name in feed.values if actions else ():
        # Near the largest float a ratio overflows to infinity, which the comparisons handle correctly.
        with np.errstate(over="ignore", invalid="ignore"):
            keyed = selection.accepted.select("series_id", "valid_time", "available_at", name)
            series_findings, suspect = check_series(keyed, name, grid, season, actions, as_of)
        findings += series_findings
        if suspect is not None:
            selection = selection.without(suspect)
    refused, groups = _refused_rows(rows, selection.reason, feed, lambda row: row_place(int(source[row]), files))
    aggregated = int((selection.origin >= 0).sum()) - len(selection.accepted) if feed.resample else 0
    later_rows = int(selection.later.sum() or 0)
    return CheckedRows(selection.accepted, refused, later_rows, tuple(findings), aggregated, reasons=groups)


def _refused_rows(
    rows: pl.DataFrame, reason: pl.Series | None, feed: FeedShape, place: Callable[[int], str]
) -> tuple[pl.DataFrame, tuple[ReasonGroup, ...]]:
    """Return the refused rows with their reasons, and the kinds of the reasons.

    Args:
        rows: N rows.
        reason: Why each row is refused, null if it is not, shape (N,). None if no row is.
        feed: Layout of the table.
        place: Function from the number of a row to its place in the source.
    """
    if reason is None:
        return rows.clear().with_columns(reason=pl.lit(None, dtype=pl.String)), ()
    numbers = reason.is_not_null().arg_true()
    refused = rows.with_columns(reason=reason).filter(reason.is_not_null())
    groups = group_reasons(refused["reason"], refused[feed.valid_time], lambda row: place(int(numbers[row])))
    return refused, groups


def _without_hidden_columns(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series | None]:
    """Return the columns of the feed, and the problem of each row that its source found, None if it found none."""
    problem = rows[ROW_PROBLEM] if ROW_PROBLEM in rows.columns else None
    return rows.drop(FILE, ROW_PROBLEM, strict=False), problem


def _select(
    columns: pl.DataFrame, reason: pl.Series | None, later: pl.Series, feed: FeedShape, grid: TimeGrid,
    bounds: tuple[float | None, float | None],
) -> _Selection:  # fmt: skip
    """Select the rows to accept, aggregated to the grid if the feed is finer."""
    if feed.resample:
        usable = pl.repeat(True, len(columns), eager=True) if reason is None else reason.is_null()
        result = aggregate_periods(columns, usable, later, feed.resample, grid, bounds)
        combined = _first_reason(reason, result.reason)
        return _Selection(result.accepted, result.period, result.origin, result.later, combined)
    kept = ~later if reason is None else ~later & reason.is_null()
    row = np.arange(len(columns))
    if kept.all():
        return _Selection(columns, row, row, later, reason)
    mask = kept.to_numpy()
    return _Selection(columns.filter(kept), row[mask], np.where(mask, row, -1), later, reason)


def _first_reason(reasons: pl.Series | None, more: pl.Series | None) -> pl.Series | None:
    """Return the reason of each row, from the first of two columns that has one."""
    if reasons is None or more is None:
        return more if reasons is None else reasons
    return pl.select(pl.coalesce(reasons, more)).to_series()
