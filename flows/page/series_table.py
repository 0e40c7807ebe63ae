"""Table of all series with their figures, and the choice of the series that the page shows first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import polars as pl

from flows.page import skill
from flows.page.number_format import format_percent
from flows.page.page_data import PageData
from storage.schemas import BASELINE, MODEL, STALE_MODEL

#: Text for each status, as the source of a row.
STATUS_NAMES = {MODEL: "the champion", STALE_MODEL: "a model that is old or lacks inputs", BASELINE: "the baseline"}

#: Largest number of series shown first.
MAX_SELECTED = 6
# Largest number of series selected for each reason.
_MAX_LARGEST = 3
_MAX_NOT_CHAMPION, _MAX_ALERTED, _MAX_LOWEST_SKILL, _MAX_MISCALIBRATED = 3, 2, 2, 1
_NOMINAL_COVERAGE = 0.8
_COVERAGE_TOLERANCE = 0.1
_MIN_SCORED_ROWS = 24

SELECTION_RULE = (
    f"At most {MAX_SELECTED} series, the largest first: the {_MAX_LARGEST} largest, up to three that the champion does "
    "not forecast, two with an alert, the two with the lowest skill below zero over the nights on this page, "
    "and the one whose coverage of the 80% interval is furthest from 80%."
)


class SelectedSeries(NamedTuple):
    """A series that the page shows first.

    Attributes:
        row: Row number in the table of series.
        reasons: Every reason to check it, empty for a series that is only large.
    """

    row: int
    reasons: list[str]


def series_table(data: PageData, rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per series of the newest forecast, sorted by series_id.

    Args:
        data: Content of the store.
        rows: Scored rows from `skill.scorable_rows`.

    Returns:
        Columns series_id, status, reason, mean_q50 (mean of the median), skill, coverage, n and other figures of all
        rows, alert.
    """
    if data.latest is None:
        return pl.DataFrame()
    worst_last = pl.Enum([MODEL, STALE_MODEL, BASELINE])
    table = (
        data.latest.group_by("series_id")
        .agg(
            pl.col("status").cast(worst_last).max().cast(pl.String),
            pl.col("reason").drop_nulls().first(),
            pl.col("q50").mean().alias("mean_q50"),
        )
        .sort("series_id")
    )
    table = table.join(skill.by_series(rows), on="series_id", how="left")
    return table.join(_alerts(data), on="series_id", how="left").sort("series_id")


def _alerts(data: PageData) -> pl.DataFrame:
    """Return the first alert of each series in the newest run: series_id, alert."""
    record = data.run_record(data.latest_issue_time)
    alerts: dict[str, str] = {}
    for alert in (record.get("alerts") if record else None) or []:
        # The list of alerts has the rest of the sentence.
        detail = str(alert.get("detail")).removeprefix(f"{alert.get('series_id')}: ").split(", below ")[0]
        alerts.setdefault(alert.get("series_id") or "", f"{alert.get('check')}: {detail}")
    schema = {"series_id": pl.String(), "alert": pl.String()}
    return pl.DataFrame({"series_id": list(alerts), "alert": list(alerts.values())}, schema=schema)


def select_series(table: pl.DataFrame) -> list[SelectedSeries]:
    """Return the series to show first, the largest first, each with every reason to check it. See SELECTION_RULE."""
    if table.is_empty():
        return []
    rows = table.with_row_index("row")
    selected: dict[int, list[str]] = {}

    def select(candidates: pl.DataFrame, count: int, reason_of: Callable[[dict[str, Any]], str]) -> None:
        for row in candidates.head(count).iter_rows(named=True):
            if row["row"] in selected or len(selected) < MAX_SELECTED:
                selected.setdefault(row["row"], []).append(reason_of(row))

    size = pl.col("mean_q50").abs()
    by_size = rows.sort(size, "row", descending=[True, False], nulls_last=True)["row"].to_list()
    selected |= {row: [] for row in by_size[:_MAX_LARGEST]}
    select(
        rows.filter(pl.col("status") != MODEL).sort(size, descending=True),
        _MAX_NOT_CHAMPION, lambda row: f"forecast by {STATUS_NAMES[row['status']]}: {row['reason']}",
    )  # fmt: skip
    select(rows.filter(pl.col("alert").is_not_null()), _MAX_ALERTED, lambda row: f"alert: {row['alert']}")
    scored = rows.filter(pl.col("n") >= _MIN_SCORED_ROWS)
    select(
        scored.filter(pl.col("skill") < 0).sort("skill"),
        _MAX_LOWEST_SKILL,
        lambda row: f"lowest skill: {format_percent(row['skill'])}",
    )
    error = (pl.col("coverage") - _NOMINAL_COVERAGE).abs()
    select(
        scored.filter(error > _COVERAGE_TOLERANCE).sort(error, descending=True),
        _MAX_MISCALIBRATED,
        lambda row: f"coverage of the 80% interval furthest from 80%: {format_percent(row['coverage'])}",
    )
    for row in by_size:
        if len(selected) < MAX_SELECTED:
            selected.setdefault(row, [])
    return [SelectedSeries(row, selected[row]) for row in by_size if row in selected]
