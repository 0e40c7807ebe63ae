"""Checks of the whole series of a feed. They find what a single row cannot show, such as a gap or a jump of level.

Most checks need no more than a block of series at a time. Those that compare series or long periods use sums.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.checks.across_series import ACROSS_SERIES
from model.checks.check_context import CheckContext
from model.checks.findings import Finding, SeriesFault
from model.checks.series_summary import SeriesSummary
from model.checks.series_table import SeriesTable
from model.checks.within_series import WITHIN_SERIES
from model.timegrid import TimeGrid
from storage.schemas import INSTANT
from storage.schemas.records import Action

# In the order in which findings are listed.
_CHECKS = (
    "gap", "flat_line", "spike", "dropout", "unit_jump", "day_jump", "level_jump", "repeated_block", "stopped",
    "same_series", "renamed",
)  # fmt: skip


def check_series(
    rows: pl.DataFrame,
    value: str,
    grid: TimeGrid,
    season: int,
    actions: dict[str, Action],
    as_of: datetime | None = None,
) -> tuple[list[Finding], pl.Series | None]:
    """Check one value column of accepted rows. Of several revisions only the newest counts.

    Args:
        rows: Columns series_id, valid_time, available_at and `value`.
        value: Name of the value column.
        grid: Grid of the pipeline.
        season: Steps per season.
        actions: Action by check. A check with `accept` does not run.
        as_of: Instant at which the feed is read, None after all its periods.

    Returns:
        The findings, and the reason why each row is quarantined (null: it is not), or None if no row is.
    """
    if rows.is_empty():
        return [], None
    table = SeriesTable.of(rows, value, grid)
    context = CheckContext.of(rows["valid_time"], grid, season, as_of)
    requested = {check for check, action in actions.items() if action != "accept"}
    faults: dict[str, list[SeriesFault]] = {check: [] for check in _CHECKS if check in requested}
    summaries = []
    for block in table.blocks():
        for check in WITHIN_SERIES.keys() & requested:
            faults[check] += WITHIN_SERIES[check](block, context)
        summaries.append(SeriesSummary.of_block(block, grid.steps_per_day))
    summary = SeriesSummary.concatenate(summaries)
    for check in ACROSS_SERIES.keys() & requested:
        faults[check] += ACROSS_SERIES[check](table, summary, context)
    findings = [_finding(check, actions[check], fault, table) for check, group in faults.items() for fault in group]
    refused = {check: group for check, group in faults.items() if group and actions[check] == "quarantine"}
    return findings, _reasons(refused, len(rows), table.order) if refused else None


def _finding(check: str, action: Action, fault: SeriesFault, table: SeriesTable) -> Finding:
    first, last = pl.Series(table.grid.start(np.array([fault.first, fault.last]))).cast(INSTANT).to_list()
    return Finding(check, action, table.names[fault.number], len(fault.rows), first, last, fault.detail)


def _reasons(faults: dict[str, list[SeriesFault]], rows: int, order: NDArray[np.int64] | None) -> pl.Series:
    """Return the reason why each row of the feed is quarantined, null where it is not. The last check wins."""
    reasons = np.full(rows, None, dtype=object)
    for check, group in faults.items():
        for fault in group:
            reasons[fault.rows if order is None else order[fault.rows]] = f"{check}: {fault.detail}"
    return pl.Series(reasons.tolist(), dtype=pl.String)
