"""Last night in one colour and one sentence.

green: published whole. amber: published, but degraded. red: nothing published for the newest issue due, or
published after its deadline.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from flows.page.local_time import LocalTimes
from flows.page.number_format import percent
from flows.page.page_data import PageData
from flows.page.series_table import NAMES
from storage.schemas import BASELINE, MODEL, STALE_MODEL

_REASONS = 2
_STEPS = {"15m": "quarter-hours", "30m": "half-hours", "1h": "hours", "1d": "days", "1b": "business days"}


class Verdict(NamedTuple):
    """`colour` of green, amber, red; `word` says it without colour and begins `sentence`; `notes`: what else counts."""

    colour: str
    word: str
    sentence: str
    notes: list[str]


def verdict(data: PageData, times: LocalTimes, skill: dict[str, Any], nights: int) -> Verdict:
    """Judge the newest night.

    Args:
        skill: `skill.overall` of the last `nights` scored nights.
    """
    notes = _notes(data, times)
    if data.latest is None or _missing(data):
        return Verdict("red", "Nothing was published", _nothing(data, times), notes)
    record = data.run_record(data.latest_issue_time)
    late = _beyond_deadline(record)
    whole = bool((data.latest["status"] == MODEL).all()) and not record.get("degraded")
    colour, word = ("green", "Published whole") if whole else ("amber", "Published degraded")
    if late is not None and late > timedelta(0):
        colour, word = "red", "Published too late"
    sentence = f"{word}{_when(record, times, late)}: {_what(data, times)}"
    if not whole:
        sentence += f"; {_why(data, record)}"
    return Verdict(colour, word, f"{sentence}; {_how_good(skill, nights)}.", notes)


def _missing(data: PageData) -> bool:
    """Whether the newest forecast begins before that of the issue that is due: weekends of markets are no gap."""
    published = data.latest_issue_time
    assert published is not None
    grid = data.settings.grid
    return grid.first_step(_micros(published)) < grid.first_step(_micros(data.due))


def _nothing(data: PageData, times: LocalTimes) -> str:
    deadline = data.due + data.settings.forecast.deadline
    failures = [f"{stage}: {text}" for stage, text in (data.run_record(data.due).get("failures") or {}).items()]
    why = f" ({'; '.join(failures)})" if failures else ""
    newest = (
        f"the newest forecast is that of {times.moment(data.latest_issue_time)}"
        if data.latest_issue_time
        else "nothing has ever been published"
    )
    return (
        f"Nothing was published for {times.moment(data.due)}, due by {times.clock(deadline)}{why}; {newest}, "
        f"and the store has {_data(data.newest_target, times)}."
    )


def _when(record: dict[str, Any], times: LocalTimes, late: timedelta | None) -> str:
    if not record.get("published_at"):
        return ""
    at = f" at {times.clock(datetime.fromisoformat(record['published_at']))}"
    if late is None:
        return at
    return f"{at}, {duration(abs(late))} {'after' if late > timedelta(0) else 'before'} the deadline"


def _what(data: PageData, times: LocalTimes) -> str:
    assert data.latest is not None
    rows = data.latest.select("valid_time").unique().sort("valid_time")["valid_time"]
    count = len(data.series_ids)
    series = f"{count:,} series" if count != 1 else "1 series"
    steps = f"{len(rows)} {_STEPS[data.settings.pipeline.frequency]}"
    source = f"by {_model(data, times)}, from {_data(data.data_until, times)}"
    return f"{series}, {steps} from {times.period(rows[0])}, {source}"


def _model(data: PageData, times: LocalTimes) -> str:
    assert data.latest is not None
    versions = data.latest["model_version"].drop_nulls().unique().to_list()
    if not versions:
        return "the baseline alone"
    as_of = {m["version"]: m["as_of"] for m in data.manifests}
    if len(versions) > 1 or versions[0] not in as_of:
        return f"model {', '.join(sorted(versions))}"
    return f"the model of {times.day(datetime.fromisoformat(as_of[versions[0]]), year=True)}"


def _data(until: datetime | None, times: LocalTimes) -> str:
    return f"data known up to {times.moment(until)}" if until else "no data"


def _why(data: PageData, record: dict[str, Any]) -> str:
    assert data.latest is not None
    total = len(data.series_ids)
    parts = []
    for status in (BASELINE, STALE_MODEL):
        those = data.latest.filter(status=status)
        if those.is_empty():
            continue
        said = those.group_by("reason").len().sort("len", "reason", descending=[True, False])["reason"].to_list()
        more = f" and {len(said) - _REASONS} more reasons" if len(said) > _REASONS else ""
        parts.append(
            f"{those['series_id'].n_unique():,} of {total:,} by {NAMES[status]} because "
            f"{', or because '.join(str(reason) for reason in said[:_REASONS])}{more}"
        )
    parts += [f"{stage} failed: {text}" for stage, text in (record.get("failures") or {}).items()]
    return "; ".join(parts) or "its record says that it was degraded, not why"


def _how_good(skill: dict[str, Any], nights: int) -> str:
    if not nights or skill["skill"] is None:
        return "no earlier night has been scored yet"
    side = "below" if skill["skill"] >= 0 else "above"
    coverage = skill["coverage"]
    held = "" if coverage is None else f", and the 80% interval held {percent(coverage)} of what came"
    span = "night" if nights == 1 else f"{nights} nights"
    return f"over the last {span} the pinball was {percent(abs(skill['skill']))} {side} the baseline's{held}"


def _notes(data: PageData, times: LocalTimes) -> list[str]:
    notes = []
    if data.is_replay:
        notes.append(
            "A replay of the past: the data end long before this page was made, "
            f"and the night is judged as of their end, {times.day(data.due, year=True)}."
        )
    failed = data.run_record(data.latest_issue_time).get("failures") or {}
    notes += [f"{stage} failed and the night went on without it: {text}" for stage, text in failed.items()]
    return notes


def _beyond_deadline(record: dict[str, Any]) -> timedelta | None:
    if not record.get("published_at") or not record.get("deadline"):
        return None
    return datetime.fromisoformat(record["published_at"]) - datetime.fromisoformat(record["deadline"])


def duration(length: timedelta) -> str:
    """`45 s`, `6 min`, `3 h 20 min`, `4 days`."""
    seconds = int(length.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} days"


def _micros(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000
