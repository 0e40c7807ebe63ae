"""Sections of the report page about operation: models, feeds, fallbacks and failures, duration of the stages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypedDict

import polars as pl

from flows.page.chart_data import ChartData, ChartRow, rounded
from flows.page.local_time import LocalTimeFormat
from flows.page.number_format import format_number, format_percent, format_ratio
from flows.page.page_data import SHOWN_ISSUE_TIMES, PageData
from flows.page.series_table import STATUS_NAMES
from flows.page.verdict import format_duration
from model.checks.reasons import group_reasons
from model.checks.series_matching import describe
from model.evaluation.monitoring import skill
from storage.schemas import BASELINE, INSTANT, MODEL, STALE_MODEL
from storage.schemas.records import CandidateScores, FeedReport, FindingRecord, Manifest

_MAX_REFUSED_ROWS = 12
_MAX_FINDINGS = 8
_MAX_FALLBACKS = 20
_RECENT = timedelta(days=7)  # age up to which a finding is not old
#: Facts of a fit that the page shows, by their key in the manifest.
_FACTS = {
    "members": "members",
    "updates": "updates",
    "epochs": "epochs",
    "linear_weights": "weight of the linear expert by part of the horizon (the network has the rest)",
}
_SOON = timedelta(days=2)  # after its issue time, a training is not for a forecast of the past
_ALL_SERIES = "all series"


class ModelEntry(TypedDict):
    """One model version, with the pinball of challenger, champion and baseline on the held-out issue times."""

    version: str
    as_of: str
    challenger: str
    champion: str
    baseline: str
    #: Skill of the challenger on the held-out issue times.
    skill: str
    promoted: bool
    is_champion: bool
    reason: str
    #: Facts about the fit that the manifest has, each with its name.
    facts: list[tuple[str, str]]


class FindingEntry(TypedDict):
    """One finding of a feed's checks."""

    check: str
    series_id: str
    when: str
    detail: str


class FeedEntry(TypedDict):
    """One feed: row counts of the newest run, findings, and refused rows.

    Attributes:
        newest_period: Newest period in the feed.
        late: Text on how late the feed is, or None.
        matching: How the ids of the feed do not match the series, in sentences.
        is_fine: True if the last run read the feed in time and without a refused row or a recent finding.
        old_findings: Findings about values more than a week before the newest issue time.
        reasons: Number of refused rows by reason, most frequent first.
        columns: Columns of `rows`.
        rows: Newest refused rows as text, newest first.
    """

    name: str
    role: str
    counts: FeedReport | None
    newest_period: str | None
    late: str | None
    matching: list[str]
    failure: str | None
    is_fine: bool
    findings: list[FindingEntry]
    old_findings: list[FindingEntry]
    more_findings: int
    refused: int
    reasons: list[tuple[str, int]]
    columns: list[str]
    rows: list[list[str]]


class StatusEntry(TypedDict):
    """Number of rows by status at one issue time, as text."""

    when: str
    rows_text: str


class FallbackEntry(TypedDict):
    """Number of series of one issue time with this fallback status and reason."""

    when: str
    status: str
    reason: str
    series: int


class FailureEntry(TypedDict):
    """Failed stage of one run."""

    when: str
    stage: str
    error: str


class AlertEntry(TypedDict):
    """Alert of the newest run."""

    check: str
    series_id: str
    detail: str


class FallbackSection(TypedDict):
    """Status of the rows of each issue time, with the reasons for fallbacks, failures and alerts.

    `is_fine` is True if all rows of all shown issue times are by the champion.
    """

    is_fine: bool
    chart: ChartData
    table: list[StatusEntry]
    newest: list[FallbackEntry]
    earlier: list[FallbackEntry]
    failures: list[FailureEntry]
    alerts: list[AlertEntry]


def model_entries(data: PageData, times: LocalTimeFormat) -> list[ModelEntry]:
    """Return every model version, newest first."""
    days = {
        manifest["version"]: times.format_day(datetime.fromisoformat(manifest["as_of"]), year=True)
        for manifest in data.manifests
    }
    return [_model_entry(manifest, data.champion, times, days) for manifest in reversed(data.manifests)]


def _model_entry(
    manifest: Manifest, champion: str | None, times: LocalTimeFormat, days: Mapping[str, str]
) -> ModelEntry:
    scores = manifest.get("scores") or {}
    decision = manifest.get("decision")
    return {
        "version": manifest["version"],
        "as_of": times.format_moment(datetime.fromisoformat(manifest["as_of"]), year=True),
        "challenger": _pinball_text(scores, "challenger"),
        "champion": _pinball_text(scores, "champion"),
        "baseline": _pinball_text(scores, "baseline"),
        "skill": format_percent(skill(_pinball(scores, "challenger"), _pinball(scores, "baseline"))),
        "promoted": bool(decision and decision.get("promoted")),
        "is_champion": manifest["version"] == champion,
        "reason": (decision and decision.get("reason")) or "the manifest has no reason",
        "facts": _fit_facts(manifest, days),
    }


def _fit_facts(manifest: Mapping[str, object], days: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what a manifest records about its fit. Manifests of earlier versions lack some keys.

    Args:
        manifest: Manifest of one model.
        days: Day of each model in the store, by version.
    """
    facts = []
    settings = manifest.get("pipeline")
    if isinstance(settings, Mapping) and "members" in settings and "members" not in manifest:
        facts.append(("members", str(settings["members"])))
    for key, name in _FACTS.items():
        if manifest.get(key) is not None:
            facts.append((name, _fact_text(manifest[key])))
    trained_at, as_of = manifest.get("trained_at"), manifest.get("as_of")
    if isinstance(trained_at, str) and isinstance(as_of, str):
        delay = datetime.fromisoformat(trained_at) - datetime.fromisoformat(as_of)
        if delay > _SOON:
            facts.append(("trained", f"{format_duration(delay)} after this time, for a forecast of the past"))
    if manifest.get("is_cut_short"):
        facts.append(("end of the fit", "by its budget, before the loss stopped improving"))
    seconds = manifest.get("seconds")
    if isinstance(seconds, int | float):
        facts.append(("time", format_duration(timedelta(seconds=seconds))))
    start = manifest.get("warm_start_from")
    if start:
        facts.append(("warm start", f"from the model of {days[str(start)]}" if start in days else f"from {start}"))
    else:
        facts.append(("start", "from random weights"))
    return facts


def _fact_text(value: object) -> str:
    """Return a number, a list or a mapping of a manifest as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_fact_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_fact_text(item) for item in value)
    if isinstance(value, float):
        return format_ratio(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _pinball(scores: Mapping[str, CandidateScores], candidate: str) -> float | None:
    of_candidate = scores.get(candidate)
    return of_candidate.get("pinball") if of_candidate else None


def _pinball_text(scores: Mapping[str, CandidateScores], candidate: str) -> str:
    return format_number(_pinball(scores, candidate))


def feed_entries(data: PageData, times: LocalTimeFormat) -> list[FeedEntry]:
    """Return each feed with what the newest run recorded about it, and its refused rows."""
    record = data.run_records[-1] if data.run_records else None
    ingest = record.get("ingest") if record else None
    counts_of = (ingest.get("feeds") if ingest else None) or {}
    late = (record.get("late") if record else None) or {}
    failures = (record.get("failures") if record else None) or {}
    entries: list[FeedEntry] = []
    for feed in data.settings.feed:
        counts = counts_of.get(feed.name)
        refused = data.quarantined.get(feed.name, pl.DataFrame({"reason": []}, schema={"reason": pl.String}))
        newest = refused.tail(_MAX_REFUSED_ROWS).reverse()
        last = counts.get("last") if counts else None
        findings = (counts.get("findings") if counts else None) or []
        findings = sorted(findings, key=lambda finding: -(finding.get("rows") or 0))
        old = [finding for finding in findings if _is_old(finding, data)]
        recent = [finding for finding in findings if not _is_old(finding, data)]
        failure, matching = failures.get(f"ingest:{feed.name}"), counts.get("matching") if counts else None
        entries.append(
            {
                "name": feed.name,
                "role": feed.role.replace("_", " "),
                "counts": counts,
                "newest_period": times.format_period(datetime.fromisoformat(last)) if last else None,
                "late": late.get(feed.name),
                "matching": describe(matching) if matching else [],
                "failure": failure,
                "is_fine": counts is not None
                and not (counts["refused"] or recent or failure or matching or late.get(feed.name)),
                "findings": [_finding_entry(finding, times) for finding in recent[:_MAX_FINDINGS]],
                "old_findings": [_finding_entry(finding, times) for finding in old[:_MAX_FINDINGS]],
                "more_findings": max(0, len(recent) - _MAX_FINDINGS) + max(0, len(old) - _MAX_FINDINGS),
                "refused": len(refused),
                "reasons": [(group.kind, group.rows) for group in group_reasons(refused["reason"])],
                "columns": newest.columns,
                "rows": [[_cell_text(value, times) for value in row] for row in newest.iter_rows()],
            }
        )
    return entries


def ingest_day(data: PageData, times: LocalTimeFormat) -> str | None:
    """Return the day of the newest run record, None if it belongs to the newest forecast."""
    if not data.run_records:
        return None
    issue_time = datetime.fromisoformat(data.run_records[-1]["issue_time"])
    return None if issue_time == data.latest_issue_time else times.format_day(issue_time, year=True)


def _is_old(finding: FindingRecord, data: PageData) -> bool:
    last, issue_time = finding.get("last"), data.latest_issue_time
    if not last or issue_time is None:
        return False
    return datetime.fromisoformat(last) < issue_time - _RECENT


def _finding_entry(finding: FindingRecord, times: LocalTimeFormat) -> FindingEntry:
    ends = [finding.get("first"), finding.get("last")]
    days = [times.format_day(datetime.fromisoformat(end), year=True) for end in ends if end]
    return {
        "check": finding["check"],
        "series_id": finding.get("series_id") or _ALL_SERIES,
        "when": " to ".join(dict.fromkeys(days)),
        "detail": finding["detail"],
    }


def fallback_section(data: PageData, times: LocalTimeFormat) -> FallbackSection:
    """Return the status of each issue time's rows, and the newest fallbacks, failures and alerts."""
    counts = data.status_counts
    chart: list[ChartRow] = []
    table: list[StatusEntry] = []
    for x, issue_time in enumerate(data.issue_times):
        rows_of = dict(counts.filter(issue_time=issue_time).group_by("status").agg(pl.col("rows").sum()).iter_rows())
        total = sum(rows_of.values())
        model, stale, baseline = (rows_of.get(status, 0) / max(total, 1) for status in (MODEL, STALE_MODEL, BASELINE))
        when = times.format_day(issue_time)
        rows_text = ", ".join(f"{rows:,} by {STATUS_NAMES[status]}" for status, rows in sorted(rows_of.items()))
        rows_text = rows_text or "no forecast published"
        chart.append(
            {"x": x, "left": x - 0.42, "right": x + 0.42, "when": when, "zero": 0, "model": rounded(model),
             "stale": rounded(model + stale), "baseline": rounded(model + stale + baseline), "none": int(not total),
             "rows_text": rows_text}
        )  # fmt: skip
        table.append({"when": when, "rows_text": rows_text})
    fallbacks = counts.filter(pl.col("status") != MODEL).sort("issue_time", "series", descending=True)
    is_newest = pl.col("issue_time").eq_missing(pl.lit(data.latest_issue_time, dtype=INSTANT))
    return {
        "is_fine": bool(chart) and all(row["model"] == 1 for row in chart),
        "chart": {"rows": chart, "ticks": times.issue_ticks(data.issue_times)},
        "table": table[::-1],
        "newest": _fallback_entries(fallbacks.filter(is_newest), times),
        "earlier": _fallback_entries(fallbacks.filter(~is_newest), times),
        "failures": _failure_entries(data, times),
        "alerts": _alert_entries(data),
    }


def _fallback_entries(fallbacks: pl.DataFrame, times: LocalTimeFormat) -> list[FallbackEntry]:
    return [
        {"when": times.format_day(row["issue_time"]), "reason": row["reason"], "series": row["series"],
         "status": STATUS_NAMES[row["status"]]}
        for row in fallbacks.head(_MAX_FALLBACKS).iter_rows(named=True)
    ]  # fmt: skip


def _failure_entries(data: PageData, times: LocalTimeFormat) -> list[FailureEntry]:
    entries: list[FailureEntry] = []
    for record in reversed(data.run_records[-SHOWN_ISSUE_TIMES:]):
        when = times.format_day(datetime.fromisoformat(record["issue_time"]))
        failures = record.get("failures") or {}
        entries += [{"when": when, "stage": stage, "error": error} for stage, error in failures.items()]
    return entries


def _alert_entries(data: PageData) -> list[AlertEntry]:
    record = data.run_record(data.latest_issue_time)
    alerts = (record.get("alerts") if record else None) or []
    return [
        {"check": alert["check"], "series_id": alert.get("series_id") or _ALL_SERIES,
         "detail": alert["detail"].removeprefix(f"{alert.get('series_id')}: ")}
        for alert in alerts
    ]  # fmt: skip


def stage_durations(data: PageData) -> list[tuple[str, str]]:
    """Return the stages of the newest run, each with its duration as text."""
    record = data.run_record(data.latest_issue_time)
    seconds = (record.get("seconds") if record else None) or {}
    return [(stage, f"{taken:,.1f} s") for stage, taken in seconds.items() if isinstance(taken, int | float)]


def _cell_text(value: object, times: LocalTimeFormat) -> str:
    # A naive time in quarantine is the feed's own text, so it is not converted to local time.
    if isinstance(value, datetime) and value.tzinfo:
        return times.format_moment(value, year=True)
    if isinstance(value, float):
        return f"{value:.10g}"
    return "" if value is None else str(value)
