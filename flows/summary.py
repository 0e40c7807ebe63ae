"""What a run says in the end: exit status, one line, tables. Told by the command line and by the flows alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from storage.schemas.records import (
    BackfillReport,
    FeedReport,
    FindingRecord,
    ForecastReport,
    IngestReport,
    Manifest,
    ScoreReport,
)

_SHOWN = 3  # series a line

PUBLISHED, FAILED, WRONG, DEGRADED = 0, 1, 2, 3


def forecast_sentence(published: ForecastReport) -> str:
    """Last night in one sentence."""
    counts = ", ".join(f"{n} rows {status}" for status, n in published["status"].items())
    state = "degraded" if published["degraded"] else "whole"
    return f"published {published['series']} series, {counts} ({state}): {published['path']}"


def backfill_sentence(report: BackfillReport) -> str:
    """A backfill in one sentence."""
    new = len(report["published"])
    degraded = sum(night["degraded"] for night in report["published"])
    return f"published {new} of {report['issues']} nights, {degraded} of them degraded; the others were there already"


def stale_reason(failures: dict[str, str]) -> str | None:
    """Why a model's rows are not those that the night should have had, None if nothing failed before the forecast.

    A model that should have been renewed, or fed with what a source did not give, is not the model of the night.
    """
    what = {"train": "the retraining that was due failed: ", "ingest": "nothing could be taken in: "}
    return "; ".join(what.get(stage, "") + error for stage, error in failures.items()) or None


def reason_lines(published: ForecastReport) -> list[str]:
    """A line for every reason why rows are not the champion's, for a provider not had, and for what has ended."""
    lines = [f"{r['series']} series {r['status']}: {r['reason']}" for r in published["reasons"]]
    if published["fell_back"]:
        lines.append(published["fell_back"])
    if published["ended"]:
        shown = ", ".join(published["ended"][:_SHOWN])
        more = f" and {len(published['ended']) - _SHOWN} more" if len(published["ended"]) > _SHOWN else ""
        lines.append(f"not forecast, since no value has come for forecast.ended_after: {shown}{more}")
    return lines


def score_sentence(score: ScoreReport) -> str:
    """What came true, and how good the last four weeks were, in one sentence."""
    new = score["scored"] + score["revised"]
    window = score["summary"].get("last_28_nights")
    if not window or window["skill"] is None:
        return f"scored {new} forecasts; none has come true that tells how good they are"
    return (
        f"scored {new} forecasts; over the last 28 nights that came true: pinball {window['pinball']:.4g}, "
        f"skill {window['skill']:+.0%} against the baseline"
    )


def score_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """The comparison on held-out issue times, one row a candidate."""
    return [
        {
            "candidate": who,
            "pinball": round(scores["pinball"], 4),
            "mae": round(scores["mae"], 4),
            "coverage_80": round(scores["coverage_80"], 3),
            "against_baseline": f"{scores['pinball'] / manifest['scores']['baseline']['pinball'] - 1:+.1%}",
        }
        for who, scores in manifest["scores"].items()
    ]


def held_out_sentence(manifest: Manifest) -> str:
    """Which issue times the comparison is about."""
    folds = manifest["folds"]
    if folds["first"] is None or folds["last"] is None:
        return "no held-out issue times that every candidate has yet to see"
    return f"{folds['count']} held-out issue times, {folds['first'][:10]} to {folds['last'][:10]}"


def model_rows(manifests: list[Manifest], champions: list[str], rolled_back: dict[str, str]) -> list[dict[str, Any]]:
    """Every model, one row each, the champion marked with a star.

    Args:
        champions: versions that serve, the champion first; rolled_back: version -> when.
    """

    def state(record: Manifest) -> str:
        version = record["version"]
        words = {
            "champion": version in champions[:1],
            "predecessor": version in champions[1:2],
            "rolled back from": version in rolled_back,
            "pruned": "pruned" in record,
        }
        return ", ".join(word for word, holds in words.items() if holds)

    def figure(record: Manifest, who: str, name: str, shape: str) -> str:
        scores: Mapping[str, Any] = record.get("scores") or {}
        value = scores.get(who, {}).get(name)
        return "" if value is None else format(value, shape)

    return [
        {
            " ": "*" if m["version"] in champions[:1] else "",
            "version": m["version"],
            "trained_as_of": m["as_of"][:16],
            "seconds": m.get("seconds", ""),
            "pinball": figure(m, "challenger", "pinball", ".4g"),
            "champion": figure(m, "champion", "pinball", ".4g"),
            "baseline": figure(m, "baseline", "pinball", ".4g"),
            "p": format(m["decision"]["p_value"], ".2g") if "p_value" in m["decision"] else "",
            "coverage_80": figure(m, "challenger", "coverage_80", ".3f"),
            "state": state(m),
            "decision": m["decision"]["reason"],
        }
        for m in manifests
    ]


def finding_lines(feeds: Mapping[str, FeedReport]) -> list[str]:
    """What was refused and why, and what whole series show, the worst first: a line a feed and reason or check."""
    lines = []
    for name, counts in feeds.items():
        lines += [f"{name}: {n} rows to quarantine: {reason}" for reason, n in counts["reasons"].items()]
        lines += [
            f"{name}: a damaged part of the history was set aside: {place}" for place in counts.get("damaged", ())
        ]
        checks: dict[str, list[FindingRecord]] = {}
        for finding in counts["findings"]:
            checks.setdefault(finding["check"], []).append(finding)
        for check, found in checks.items():
            worst = sorted(found, key=lambda f: -f["rows"])
            shown = "; ".join(_oddity(finding) for finding in worst[:_SHOWN])
            more = f"; and {len(worst) - _SHOWN} more series" if len(worst) > _SHOWN else ""
            lines.append(f"{name}: {check}: {shown}{more}")
    return lines


def _oddity(finding: FindingRecord) -> str:
    since, until = (text[:10] for text in (finding["first"], finding["last"]))
    when = since if since == until else f"{since} to {until}"
    return f"{finding['series_id'] or 'all series'} ({when}): {finding['detail']}"


def refused_rows(report: IngestReport) -> list[dict[str, Any]]:
    """What went to quarantine in one ingest, one row a feed and reason, the most first."""
    rows = [
        {"feed": name, "rows": n, "reason": reason}
        for name, counts in report["feeds"].items()
        for reason, n in counts["reasons"].items()
    ]
    return sorted(rows, key=lambda row: -row["rows"])


def skill_rows(score: ScoreReport | None) -> list[dict[str, Any]]:
    """How good the last nights were that came true, one row a window of nights."""
    windows: dict[str, Any] = {
        name: found for name, found in (score["summary"] if score else {}).items() if name.startswith("last_")
    }
    names = ("pinball", "baseline_pinball", "skill", "mae", "coverage_80")
    return [
        {"nights": name.removeprefix("last_").removesuffix("_nights"), **{n: found.get(n) for n in names}}
        for name, found in windows.items()
    ]


def feed_rows(report: IngestReport) -> list[dict[str, Any]]:
    """What was ingested, one row a feed."""
    keys = ("read", "added", "unchanged", "aggregated", "refused", "later")
    feeds: Mapping[str, Mapping[str, Any]] = report["feeds"]
    return [{"feed": name, **{k: counts[k] for k in keys}} for name, counts in feeds.items()]
