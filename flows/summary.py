"""Summary of a run for people: exit status, sentences, and rows of tables. The command line and the flows use it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypedDict, cast
from zoneinfo import ZoneInfo

from flows.settings.pipeline import Pipeline
from model.checks.reasons import NOT_A_NUMBER, first_text
from model.checks.series_matching import describe
from model.evaluation.monitoring import skill
from storage.schemas.counts import counted
from storage.schemas.records import (
    BackfillReport,
    CandidateScores,
    FeedReport,
    FindingRecord,
    ForecastReport,
    IngestReport,
    Manifest,
    Measures,
    RunRecord,
    ScoreReport,
)
from storage.schemas.steps import step_name

_MAX_NAMES = 3  # series in one line
_LATE_HINTS = {
    "known_future": (
        "Deliver them before the issue time. If this is normal, shorten the horizon, or let the feed reach further."
    ),
    "observed": "Deliver them before the issue time. If this is normal, set available_after of the feed.",
}

#: Exit statuses. 3 means published, but some rows do not come from the champion, or a stage or step failed.
PUBLISHED, FAILED, WRONG, DEGRADED = 0, 1, 2, 3


class ScoreRow(TypedDict):
    """Scores of one candidate on the held-out issue times."""

    candidate: str
    pinball: float
    mae: float
    coverage_80: float
    skill: str


class RefusedRow(TypedDict):
    """Number of rows of one feed that were refused for one reason."""

    feed: str
    rows: int
    reason: str


#: One row of a table: column to cell.
Row = Mapping[str, object]


def exit_status(is_degraded: bool, failures: Mapping[str, str]) -> int:
    """Return the exit status of a run that published a forecast."""
    return DEGRADED if is_degraded or failures else PUBLISHED


def forecast_sentence(report: ForecastReport) -> str:
    """Return what a forecast published, and in a second sentence whether its inputs were complete."""
    state = "Published but degraded" if report["degraded"] else "Published"
    rows = ", ".join(counted(count, f"{status} row") for status, count in report["status"].items())
    return f"{state}: {report['series']} series, {rows}, file {report['path']}. {inputs_sentence(report)}"


def run_sentence(report: ForecastReport, failures: Mapping[str, str]) -> str:
    """Return what a run published, and in a further sentence which of its stages or steps failed, with one error."""
    sentence = forecast_sentence(report)
    if not failures:
        return sentence
    name, error = next(iter(failures.items()))
    more = f", and {counted(len(failures) - 1, 'more step')}" if len(failures) > 1 else ""
    return f"{sentence} Failed: {step_name(name)} ({error.rstrip('.')}){more}."


def late_hint(role: str) -> str:
    """Return what to do about a feed of some role that is always late."""
    return _LATE_HINTS["known_future" if role == "known_future" else "observed"]


def inputs_sentence(report: ForecastReport) -> str:
    """Return whether the inputs of a forecast were complete, with the feeds that were late or missing."""
    incomplete = list(report["incomplete"])
    return f"Inputs incomplete: {names_text(incomplete)}." if incomplete else "Inputs complete."


def backfill_sentence(report: BackfillReport) -> str:
    """Return the result of a backfill in one sentence."""
    degraded = sum(forecast["degraded"] for forecast in report["published"])
    published, failed = len(report["published"]), sum(name.startswith("forecast ") for name in report["failures"])
    existed = report["issues"] - published - failed
    parts = [f"Published {published} of {counted(report['issues'], 'forecast')}, {degraded} of them degraded"]
    parts += [f"{existed} {'was' if existed == 1 else 'were'} published before"] if existed else []
    parts += [f"{failed} failed"] if failed else []
    return "; ".join(parts) + "."


def score_sentence(report: ScoreReport) -> str:
    """Return the number of scored forecasts and their scores over four weeks in one sentence."""
    count = report["scored"] + report["revised"]
    if count:
        scored = f"Scored {counted(count, 'forecast')}."
    elif report["unchanged"]:
        scored = f"Scored no further forecast; the scores of {counted(report['unchanged'], 'forecast')} are unchanged."
    else:
        scored = "Scored no forecast, because no actuals of one are known yet."
    window = report["summary"].get("last_28_nights")
    if not window or window["skill"] is None:
        return f"{scored} There are too few actuals for a skill." if count or report["unchanged"] else scored
    nights = report["summary"].get("nights", 0)
    over = "The newest night with actuals" if nights == 1 else f"Last {nights or 28} nights with actuals"
    pinball = number_text(cast(float, window["pinball"]))
    return f"{scored} {over}: pinball {pinball}, skill {window['skill']:+.0%} against the baseline."


def held_out_sentence(manifest: Manifest) -> str:
    """Return the range of the issue times that the candidates were compared on."""
    folds = manifest["folds"]
    if not folds["count"] or folds["first"] is None or folds["last"] is None:
        return "No held-out issue time is unseen by every candidate"
    return f"{counted(folds['count'], 'held-out issue time')}, {folds['first'][:10]} to {folds['last'][:10]}"


def champion_sentence(champion: str) -> str:
    """Return which model serves after a backfill, and what the models that it trained are for."""
    return f"The next forecast is by model {champion}. A model that a backfill trains serves past issue times only."


def budget_lines(manifest: Manifest) -> list[str]:
    """Return a sentence if the budget ended the fit, none otherwise."""
    if not manifest.get("is_cut_short"):
        return []
    return ["The budget ended the fit before its loss stopped improving. A larger training.budget may forecast better."]


def failed_feeds(feeds: Iterable[str], failures: Mapping[str, str]) -> dict[str, str]:
    """Return the error of each feed that could not be ingested, so that its newest values may be missing.

    Args:
        feeds: Names of all feeds.
        failures: Error by stage of a run.
    """
    whole = dict.fromkeys(feeds, failures["ingest"]) if "ingest" in failures else {}
    single = {name.removeprefix("ingest:"): text for name, text in failures.items() if name.startswith("ingest:")}
    return whole | single


def without_forecast(error: str, failed: Mapping[str, str]) -> str:
    """Return why nothing was published, after the feeds whose failure explains it."""
    feeds = "; ".join(f"the ingest of {feed!r} failed: {text.rstrip('.')}" for feed, text in failed.items())
    return f"{feeds}. So no forecast could be published: {error}" if feeds else error


def stale_reason(failures: Mapping[str, str]) -> str | None:
    """Return why the model's rows are stale, None if they are not: the model should have been retrained.

    A failed ingest makes only those series stale that lack due values, which the forecast stage finds out.
    """
    return f"the retraining that was due failed: {failures['train']}" if "train" in failures else None


def reason_lines(report: ForecastReport) -> list[str]:
    """Return one line per reason why rows do not come from the champion, and notes on the provider and ended series."""
    lines = [f"{reason['series']} series {reason['status']}: {reason['reason']}" for reason in report["reasons"]]
    if report["fell_back"]:
        lines.append(report["fell_back"])
    if report["ended"]:
        lines.append(
            f"Not forecast, because without values for longer than forecast.ended_after: {names_text(report['ended'])}"
        )
    return lines


def names_text(names: list[str]) -> str:
    """Return the first names of a list, and the number of the others."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def trained_manifest(record: RunRecord) -> Manifest | None:
    """Return the manifest of the model that a run trained, None if it trained none."""
    train = record["train"]
    return cast(Manifest, train) if train and train["trained"] else None


def score_rows(manifest: Manifest) -> list[ScoreRow]:
    """Return the comparison on held-out issue times, one row per candidate."""
    baseline = manifest["scores"]["baseline"]["pinball"] if manifest["scores"] else 0.0
    return [_score_row(candidate, scores, baseline) for candidate, scores in manifest["scores"].items()]


def _score_row(candidate: str, scores: CandidateScores, baseline: float) -> ScoreRow:
    return {
        "candidate": candidate,
        "pinball": round(scores["pinball"], 4),
        "mae": round(scores["mae"], 4),
        "coverage_80": round(scores["coverage_80"], 3),
        "skill": _skill_text(scores["pinball"], baseline),
    }


def number_text(value: float) -> str:
    """Return a number with four significant digits, or all its whole digits, and without an exponent."""
    if not value or not math.isfinite(value):
        return f"{value:.4g}"
    decimals = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def _skill_text(pinball: float, baseline_pinball: float) -> str:
    value = skill(pinball, baseline_pinball)
    return "" if value is None else f"{value:+.1%}"


def model_rows(
    settings: Pipeline, manifests: Iterable[Manifest], champions: list[str], rolled_back: Mapping[str, str]
) -> list[Row]:
    """Return every model, one row each, the champion marked with a star.

    Args:
        settings: Settings of the pipeline.
        manifests: Manifests of the models.
        champions: Versions that serve, the champion first.
        rolled_back: Time of the rollback, by version.
    """
    return [_model_row(settings, manifest, champions, rolled_back) for manifest in manifests]


def _model_row(
    settings: Pipeline, manifest: Manifest, champions: list[str], rolled_back: Mapping[str, str]
) -> Row:  # fmt: skip
    version, decision = manifest["version"], manifest["decision"]
    states = {
        "champion": version in champions[:1],
        "predecessor": version in champions[1:2],
        "rolled back from": version in rolled_back,
        "pruned": "pruned" in manifest,
    }
    # Manifests of older versions may lack scores.
    scores = manifest.get("scores") or {}

    def pinball(candidate: str) -> str:
        return number_text(scores[candidate]["pinball"]) if candidate in scores else ""

    return {
        " ": "*" if states["champion"] else "",
        "version": version,
        "trained_as_of": settings.local_text(datetime.fromisoformat(manifest["as_of"])),
        "seconds": manifest.get("seconds", ""),
        "pinball": pinball("challenger"),
        "champion": pinball("champion"),
        "baseline": pinball("baseline"),
        "skill": _skill_text(scores["challenger"]["pinball"], scores["baseline"]["pinball"]) if scores else "",
        "p": format(decision["p_value"], ".2g") if "p_value" in decision else "",
        "coverage_80": format(scores["challenger"]["coverage_80"], ".3f") if "challenger" in scores else "",
        "state": ", ".join(state for state, holds in states.items() if holds),
        "decision": decision["reason"],
    }


def finding_lines(feeds: Mapping[str, FeedReport], timezone: str) -> list[str]:
    """Return one line per feed and reason of refusal, and one per feed and check with its worst findings.

    Args:
        feeds: Reports by feed.
        timezone: Zone of the days.
    """
    lines = []
    for name, feed in feeds.items():
        lines += [
            f"{name}: {count:,} of {counted(feed['read'], 'row')} refused: {reason}"
            f"{first_text(feed.get('examples', {}).get(reason, ''))}{_missing_hint(reason)}"
            for reason, count in feed["reasons"].items()
        ]
        lines += [f"{name}: damaged part of the history set aside: {path}" for path in feed.get("damaged", ())]
        by_check: dict[str, list[FindingRecord]] = {}
        for finding in feed["findings"]:
            by_check.setdefault(finding["check"], []).append(finding)
        for check, findings in by_check.items():
            worst = sorted(findings, key=lambda finding: -finding["rows"])
            details = "; ".join(_finding_text(finding, timezone) for finding in worst[:_MAX_NAMES])
            more = f"; and {len(worst) - _MAX_NAMES} more series" if len(worst) > _MAX_NAMES else ""
            lines.append(f"{name}: {check}: {details}{more}")
    return lines


def _missing_hint(reason: str) -> str:
    """Return what to do about cells that are no numbers and perhaps mean a missing value."""
    if not reason.endswith(NOT_A_NUMBER):
        return ""
    return ". If such texts mean a missing value, add them to missing in [feed.options]"


def _finding_text(finding: FindingRecord, timezone: str) -> str:
    zone = ZoneInfo(timezone)
    first, last = (datetime.fromisoformat(finding[end]).astimezone(zone).date() for end in ("first", "last"))
    dates = f"{first}" if first == last else f"{first} to {last}"
    return f"{finding['series_id'] or 'all series'} ({dates}): {finding['detail']}"


def matching_lines(feed: FeedReport) -> list[str]:
    """Return how the ids of a feed do not match the series of the target, in sentences."""
    return describe(feed["matching"]) if "matching" in feed else []


def refused_rows(report: IngestReport) -> list[RefusedRow]:
    """Return the refused rows of an ingest, one row per feed and reason, the most frequent first."""
    rows: list[RefusedRow] = [
        {"feed": name, "rows": count, "reason": reason}
        for name, feed in report["feeds"].items()
        for reason, count in feed["reasons"].items()
    ]
    return sorted(rows, key=lambda row: -row["rows"])


def skill_rows(report: ScoreReport | None) -> list[Row]:
    """Return the scores of the newest forecasts with actuals, one row per window of nights."""
    if report is None:
        return []
    summary = report["summary"]
    windows: dict[str, Measures | None] = {"7": summary.get("last_7_nights"), "28": summary.get("last_28_nights")}
    return [
        {
            "nights": nights,
            "pinball": window["pinball"],
            "baseline_pinball": window["baseline_pinball"],
            "skill": window["skill"],
            "mae": window["mae"],
            "coverage_80": window["coverage_80"],
        }
        for nights, window in windows.items()
        if window is not None
    ]


def feed_rows(report: IngestReport) -> list[Row]:
    """Return the row counts of an ingest, one row per feed."""
    return [
        {
            "feed": name,
            "read": feed["read"],
            "added": feed["added"],
            "unchanged": feed["unchanged"],
            "aggregated": feed["aggregated"],
            "refused": feed["refused"],
            "later": feed["later"],
        }
        for name, feed in report["feeds"].items()
    ]
