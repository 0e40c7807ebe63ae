"""The page's tables and short sentences, as plain values for the template: every section, whatever is missing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from flows.page import skill
from flows.page.local_time import LocalTimes
from flows.page.number_format import figure, percent, ratio
from flows.page.page_data import SHOWN_ISSUE_TIMES, PageData
from flows.page.series_table import NAMES
from storage.schemas import BASELINE, INSTANT, MODEL, STALE_MODEL

_SERIES = 10  # in a table of the page; the search finds the others
_REFUSED = 12  # rows shown a feed
_FINDINGS = 8
_FALLBACKS = 20


def came(data: PageData, rows: pl.DataFrame, times: LocalTimes) -> dict[str, Any] | None:
    """The newest scored night: its figures, its series from the worst skill on; and the error by step of all nights."""
    if rows.is_empty():
        return None
    night = skill.newest(rows, 1)
    series = skill.by_series(night).sort("skill", "series_id", nulls_last=True)
    place = {name: row for row, name in enumerate(data.series_ids)}
    steps = skill.by_step(rows)
    return {
        "issue": times.moment(night["issue_time"][0], year=True),
        **skill.overall(night),
        "hidden": max(0, len(series) - _SERIES),
        "series": [
            {**row, "row": place.get(row["series_id"]), "skill": percent(row["skill"]),
             "coverage": percent(row["coverage"]), "mae": figure(row["mae"]),
             "baseline_mae": figure(row["baseline_mae"])}
            for row in series.head(_SERIES).iter_rows(named=True)
        ],
        "chart": [
            {"x": row["step"], "when": f"step {row['step']}", "model": _round(row["mase"]),
             "baseline": _round(row["baseline_mase"])}
            for row in steps.iter_rows(named=True)
        ],
        "table": [
            (row["step"], ratio(row["mase"]), ratio(row["baseline_mase"])) for row in steps.iter_rows(named=True)
        ],
    }  # fmt: skip


def over_time(nights: pl.DataFrame, times: LocalTimes) -> dict[str, Any] | None:
    """Skill and coverage by scored night."""
    if nights.is_empty():
        return None
    issues = nights["issue_time"].to_list()
    chart = [
        {"x": x, "when": times.day(row["issue_time"]), "skill": _round(row["skill"]),
         "coverage": _round(row["coverage"]), "n": row["n"]}
        for x, row in enumerate(nights.iter_rows(named=True))
    ]  # fmt: skip
    table = [
        {**row, "skill": percent(row["skill"], 1), "coverage": percent(row["coverage"], 1)} for row in reversed(chart)
    ]
    return {"chart": chart, "ticks": times.nights(issues), "table": table}


def calibration(data: PageData, rows: pl.DataFrame) -> dict[str, Any] | None:
    """Reliability and PIT histogram of the scored nights, and what they say in a sentence."""
    levels = data.settings.pipeline.quantile_levels
    found = skill.reliability(rows, levels)
    if not found:
        return None
    bins = skill.pit_histogram(rows, levels)
    return {
        "reliability": [{"level": level, "share": _round(share)} for level, share in found],
        "pit": [{"low": low, "high": high, "density": _round(density)} for low, high, density in bins],
        "table": [(f"{100 * level:g}%", percent(share, 1)) for level, share in found],
        "says": _says(found, levels),
        "n": rows["pit"].count(),
    }


def _says(found: list[tuple[float, float]], levels: tuple[float, ...]) -> str:
    share = dict(found)
    low, high = levels[0], levels[-1]
    promised, held = high - low, share[high] - share[low]
    width = (
        "too narrow: more came outside than was promised"
        if held < promised - 0.03
        else "too wide: more came inside than was promised"
        if held > promised + 0.03
        else "about as wide as they should be"
    )
    lean = share[0.5] - 0.5
    bias = (
        "" if abs(lean) < 0.03 else
        f" The median is too {'high' if lean > 0 else 'low'}: {percent(share[0.5])} of what came was at or below it."
    )  # fmt: skip
    return f"The intervals are {width} ({percent(held)} for {percent(promised)}).{bias}"


def models(data: PageData, times: LocalTimes) -> list[dict[str, Any]]:
    """Every version, the newest first: when, its figures, whether and why it serves."""
    found = []
    for manifest in reversed(data.manifests):
        scores: dict[str, Any] = {**manifest.get("scores", {})}
        pinball = {who: (scores.get(who) or {}).get("pinball") for who in ("challenger", "champion", "baseline")}
        decision = manifest.get("decision") or {}
        found.append(
            {
                "version": manifest["version"],
                "as_of": times.moment(datetime.fromisoformat(manifest["as_of"]), year=True),
                **{who: figure(value) for who, value in pinball.items()},
                "promoted": bool(decision.get("promoted")),
                "serving": manifest["version"] == data.champion,
                "reason": decision.get("reason") or "no reason on record",
            }
        )
    return found


def feeds(data: PageData, times: LocalTimes) -> list[dict[str, Any]]:
    """Each feed: what the last night read of it, what came late, what is odd, what is in quarantine."""
    record = data.run_records[-1] if data.run_records else {}
    told = (record.get("ingest") or {}).get("feeds") or {}
    late, failures = record.get("late") or {}, record.get("failures") or {}
    found = []
    for feed in data.settings.feed:
        counts = told.get(feed.name)
        refused = data.quarantined.get(feed.name, pl.DataFrame({"reason": []}, schema={"reason": pl.String}))
        reasons = refused["reason"].value_counts(sort=True).iter_rows() if len(refused) else []
        last = refused.tail(_REFUSED).reverse()
        findings = (counts or {}).get("findings") or []
        found.append(
            {
                "name": feed.name,
                "role": feed.role.replace("_", " "),
                "counts": counts,
                "last": _moment(counts["last"], times) if counts and counts.get("last") else None,
                "late": late.get(feed.name),
                "failed": failures.get(f"ingest:{feed.name}"),
                "findings": [
                    {**finding, "series_id": finding.get("series_id") or "all series",
                     "when": _span(finding.get("first"), finding.get("last"), times)}
                    for finding in sorted(findings, key=lambda f: -(f.get("rows") or 0))[:_FINDINGS]
                ],
                "more_findings": max(0, len(findings) - _FINDINGS),
                "refused": len(refused),
                "reasons": list(reasons),
                "columns": last.columns,
                "rows": [[_cell(value, times) for value in row] for row in last.iter_rows()],
            }
        )  # fmt: skip
    return found


def fallbacks(data: PageData, times: LocalTimes) -> dict[str, Any]:
    """By night, what share of rows the model made; and the newest night's rows that it did not make, with the why."""
    rows = data.status_counts
    chart = []
    for x, issue in enumerate(data.issue_times):
        count = dict(rows.filter(issue_time=issue).group_by("status").agg(pl.col("rows").sum()).iter_rows())
        total = sum(count.values())
        model, stale, base = (count.get(status, 0) / max(total, 1) for status in (MODEL, STALE_MODEL, BASELINE))
        told = ", ".join(f"{n:,} by {NAMES[status]}" for status, n in sorted(count.items()))
        chart.append(
            {"x": x, "left": x - 0.42, "right": x + 0.42, "when": times.day(issue), "zero": 0, "model": _round(model),
             "stale": _round(model + stale), "baseline": _round(model + stale + base), "none": int(not total),
             "told": told or "nothing published"}
        )  # fmt: skip
    fallen = rows.filter(pl.col("status") != MODEL).sort("issue_time", "series", descending=True)
    newest = pl.col("issue_time").eq_missing(pl.lit(data.latest_issue_time, dtype=INSTANT))
    return {
        "chart": chart,
        "ticks": times.nights(list(data.issue_times)),
        "table": list(reversed(chart)),
        "tonight": [
            {**row, "status": NAMES[row["status"]]}
            for row in fallen.filter(newest).head(_FALLBACKS).iter_rows(named=True)
        ],
        "past": [
            {"night": times.day(row["issue_time"]), "reason": row["reason"], "series": row["series"],
             "status": NAMES[row["status"]]}
            for row in fallen.filter(~newest).head(_FALLBACKS).iter_rows(named=True)
        ],
        "failures": [
            {"night": times.day(datetime.fromisoformat(record["issue_time"])), "stage": stage, "text": text}
            for record in reversed(data.run_records[-SHOWN_ISSUE_TIMES:])
            for stage, text in (record.get("failures") or {}).items()
        ],
        "alerts": [
            {**alert, "series_id": alert.get("series_id") or "all series"}
            for alert in data.run_record(data.latest_issue_time).get("alerts") or []
        ],
    }  # fmt: skip


def stages(data: PageData) -> list[tuple[str, str]]:
    """How long each stage of the newest night took."""
    seconds = data.run_record(data.latest_issue_time).get("seconds") or {}
    return [(stage, f"{taken:,.1f} s") for stage, taken in seconds.items() if isinstance(taken, int | float)]


def _moment(text: str, times: LocalTimes) -> str:
    return times.period(datetime.fromisoformat(text))


def _span(first: str | None, last: str | None, times: LocalTimes) -> str:
    ends = [times.day(datetime.fromisoformat(end), year=True) for end in (first, last) if end]
    return " to ".join(dict.fromkeys(ends))


def _cell(value: Any, times: LocalTimes) -> str:
    # A naive time in quarantine is what the feed said: it stays as it came.
    if isinstance(value, datetime) and value.tzinfo:
        return times.moment(value, year=True)
    if isinstance(value, float):
        return f"{value:.10g}"
    return "" if value is None else str(value)


def _round(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 4)
