"""What a run says in the end: exit status, one line, tables. Told by the command line and by the flows alike."""

from __future__ import annotations

from typing import Any

_SHOWN = 3  # series a line

PUBLISHED, FAILED, WRONG, DEGRADED = 0, 1, 2, 3


def sentence(published: dict[str, Any]) -> str:
    """Last night in one sentence."""
    counts = ", ".join(f"{n} rows {status}" for status, n in published["status"].items())
    state = "degraded" if published["degraded"] else "whole"
    return f"published {published['series']} series, {counts} ({state}): {published['path']}"


def why(published: dict[str, Any]) -> list[str]:
    """A line for every reason why rows are not the champion's."""
    return [f"{r['series']} series {r['status']}: {r['reason']}" for r in published["reasons"]]


def score_rows(manifest: dict[str, Any]) -> list[dict[str, Any]]:
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


def held_out(manifest: dict[str, Any]) -> str:
    """Which issue times the comparison is about."""
    folds = manifest["folds"]
    return f"{folds['count']} held-out issue times, {folds['first'][:10]} to {folds['last'][:10]}"


def oddities(report: dict[str, Any]) -> list[str]:
    """What was refused and why, and what whole series show, the worst first: a line a feed and reason or check."""
    lines = []
    for name, counts in report["feeds"].items():
        lines += [f"{name}: {n} rows to quarantine: {reason}" for reason, n in counts["reasons"].items()]
        checks: dict[str, list[dict[str, Any]]] = {}
        for finding in counts["findings"]:
            checks.setdefault(finding["check"], []).append(finding)
        for check, found in checks.items():
            worst = sorted(found, key=lambda f: -f["rows"])
            shown = "; ".join(_oddity(finding) for finding in worst[:_SHOWN])
            more = f"; and {len(worst) - _SHOWN} more series" if len(worst) > _SHOWN else ""
            lines.append(f"{name}: {check}: {shown}{more}")
    return lines


def _oddity(finding: dict[str, Any]) -> str:
    since, until = (str(finding[end])[:10] for end in ("first", "last"))
    when = since if since == until else f"{since} to {until}"
    return f"{finding['series_id'] or 'all series'} ({when}): {finding['detail']}"


def feed_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What was ingested, one row a feed."""
    keys = ("read", "added", "unchanged", "folded", "refused", "later")
    return [{"feed": name, **{k: counts[k] for k in keys}} for name, counts in report["feeds"].items()]
