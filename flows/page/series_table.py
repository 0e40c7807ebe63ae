"""One row a series: what made its forecast, how large it is, how good it was; and which series matter, and why."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from flows.page import skill
from flows.page.number_format import percent
from flows.page.page_data import PageData
from storage.schemas import BASELINE, MODEL, STALE_MODEL

#: How the page names what made a row.
NAMES = {MODEL: "the champion", STALE_MODEL: "a stale model", BASELINE: "the baseline"}

#: The most series shown without being asked for, and the most of each kind of reason.
SHOWN = 6
_NOT_MODEL, _ALERTED, _WORST, _WIDE = 3, 2, 2, 1
_FAR_OFF = 0.1  # of coverage from 80%
_ENOUGH = 24  # scored rows

RULE = (
    f"At most {SHOWN}, in this order: up to three that are not the champion's tonight, two with an alert, the two of "
    f"lowest skill over the last {skill.RECENT} nights, the one whose 80% interval was furthest off, then the largest."
)


class Matter(NamedTuple):
    """A series (its row in the table) and why it is shown."""

    row: int
    reasons: list[str]


def series_table(data: PageData, rows: pl.DataFrame) -> pl.DataFrame:
    """series_id, status, reason, level (mean median), skill, coverage, n of the scored nights, recent_skill, alert.

    Args:
        rows: scored rows, from `skill.came_true`.
    """
    if data.latest is None:
        return pl.DataFrame()
    worst = pl.Enum([MODEL, STALE_MODEL, BASELINE])
    table = (
        data.latest.group_by("series_id")
        .agg(
            pl.col("status").cast(worst).max().cast(pl.String),
            pl.col("reason").drop_nulls().first(),
            pl.col("q50").mean().alias("level"),
        )
        .sort("series_id")
    )
    recent = skill.by_series(skill.newest(rows, skill.RECENT)).select("series_id", recent_skill="skill")
    table = table.join(skill.by_series(rows), on="series_id", how="left").join(recent, on="series_id", how="left")
    alerts: dict[str, str] = {}
    for alert in data.run_record(data.latest_issue_time).get("alerts") or []:
        alerts.setdefault(alert.get("series_id") or "", f"{alert.get('check')}: {alert.get('detail')}")
    known = pl.DataFrame(
        {"series_id": list(alerts), "alert": list(alerts.values())}, schema={"series_id": pl.String, "alert": pl.String}
    )
    return table.join(known, on="series_id", how="left").sort("series_id")


def matter(table: pl.DataFrame) -> list[Matter]:
    """The series to look at first, each with every reason that chose it."""
    if table.is_empty():
        return []
    rows = table.with_row_index("row")
    chosen: dict[int, list[str]] = {}

    def choose(found: pl.DataFrame, count: int, why: Any) -> None:
        for row in found.head(count).iter_rows(named=True):
            if row["row"] in chosen or len(chosen) < SHOWN:
                chosen.setdefault(row["row"], []).append(why(row))

    level = pl.col("level").abs()
    choose(
        rows.filter(pl.col("status") != MODEL).sort(level, descending=True),
        _NOT_MODEL, lambda r: f"made by {NAMES[r['status']]}: {r['reason']}",
    )  # fmt: skip
    choose(rows.filter(pl.col("alert").is_not_null()), _ALERTED, lambda r: f"alert: {r['alert']}")
    judged = rows.filter(pl.col("n") >= _ENOUGH)
    choose(
        judged.filter(pl.col("recent_skill").is_not_null()).sort("recent_skill"),
        _WORST, lambda r: f"lowest skill of the last {skill.RECENT} nights: {percent(r['recent_skill'])}",
    )  # fmt: skip
    off = (pl.col("coverage") - 0.8).abs()
    choose(
        judged.filter(off > _FAR_OFF).sort(off, descending=True),
        _WIDE, lambda r: f"80% interval furthest off: it held {percent(r['coverage'])}",
    )  # fmt: skip
    largest = rows.filter(~pl.col("row").is_in(list(chosen))).sort(level, descending=True, nulls_last=True)
    choose(largest, SHOWN, lambda _: "among the largest")
    return [Matter(row, reasons) for row, reasons in chosen.items()]
