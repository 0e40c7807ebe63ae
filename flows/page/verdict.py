"""Verdict on the newest run: one colour and one sentence.

Green: a complete forecast was published in time. Amber: the forecast is degraded. Red: nothing was published for the
newest issue time that is due, or it was published after its deadline.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from flows.page.local_time import LocalTimeFormat
from flows.page.number_format import format_percent
from flows.page.page_data import PageData
from flows.page.series_table import STATUS_NAMES
from flows.page.skill import Figures
from storage.schemas import BASELINE, MODEL, STALE_MODEL
from storage.schemas.records import RunRecord
from storage.schemas.steps import step_name

_MAX_REASONS = 2
_PERIOD_NAMES = {"15m": "quarter-hours", "30m": "half-hours", "1h": "hours", "1d": "days", "1b": "business days"}

Colour = Literal["green", "amber", "red"]


class Verdict(NamedTuple):
    """Verdict on the newest run.

    Attributes:
        colour: Colour of the page's head.
        headline: The verdict in words. `sentence` begins with it.
        sentence: What was published and when, why it is degraded, and the skill of the last forecasts.
        notes: Further facts, each one sentence.
    """

    colour: Colour
    headline: str
    sentence: str
    notes: list[str]


def make_verdict(data: PageData, times: LocalTimeFormat, figures: Figures, scored: int) -> Verdict:
    """Return the verdict on the newest run.

    Args:
        data: Content of the store.
        times: Format of times.
        figures: Figures of the scored issue times, from `skill.overall`.
        scored: Number of scored issue times.
    """
    notes = _notes(data, times)
    if data.latest is None or _is_overdue(data):
        return Verdict("red", "No forecast published", _nothing_published(data, times), notes)
    record = data.run_record(data.latest_issue_time)
    delay = _delay(record)
    is_complete = bool((data.latest["status"] == MODEL).all()) and not (record and record.get("degraded"))
    has_failures = bool(_failures(record))
    colour: Colour = "green" if is_complete and not has_failures else "amber"
    headline = f"{'Complete' if is_complete else 'Degraded'} forecast published"
    if is_complete and has_failures:
        headline += ", but a step failed"
    if delay is not None and delay > timedelta(0):
        colour, headline = "red", "Forecast published too late"
    sentence = f"{headline}{_when_published(data, record, times, delay)}: {_content(data, times)}"
    if not is_complete:
        sentence += f"; {_degradation(data, record)}"
        notes = _notes(data, times, with_failures=False)  # The sentence has them.
    return Verdict(colour, headline, f"{sentence}. {_quality(figures, scored)}.", notes)


def _is_overdue(data: PageData) -> bool:
    """Return whether the newest forecast begins before the forecast that is due.

    Issue times on a market's weekend have the same first period, so a forecast for one of them covers the others.
    """
    latest = data.latest_issue_time
    assert latest is not None
    return data.first_step_at(latest) < data.first_step_at(data.due)


def _nothing_published(data: PageData, times: LocalTimeFormat) -> str:
    deadline = data.due + data.settings.forecast.deadline
    record = data.run_record(data.due)
    failures = [f"{step_name(stage)} failed: {error}" for stage, error in _failures(record).items()]
    reason = f" ({'; '.join(failures)})" if failures else ""
    newest = (
        f"The newest forecast was issued {times.format_moment(data.latest_issue_time)}"
        if data.latest_issue_time
        else "No forecast has been published before"
    )
    return (
        f"No forecast published for {times.format_moment(data.due)}, due by {times.format_clock(deadline)}{reason}. "
        f"{newest}. The store has {_data_range(data.newest_target, times)}."
    )


def _when_published(
    data: PageData, record: RunRecord | None, times: LocalTimeFormat, delay: timedelta | None
) -> str:  # fmt: skip
    published_at = record.get("published_at") if record else None
    if not published_at or data.latest_issue_time is None:
        return ""
    instant = datetime.fromisoformat(published_at)
    at = f" at {times.format_clock(instant)}"
    if instant - data.latest_issue_time >= timedelta(days=1):
        # A replay is published on another day than that of its issue time.
        at = f" on {times.format_moment(instant, year=True)}"
    if delay is None:
        return at
    return f"{at}, {format_duration(abs(delay))} {'after' if delay > timedelta(0) else 'before'} this run's deadline"


def _content(data: PageData, times: LocalTimeFormat) -> str:
    """Return which series and periods the newest forecast has, and from which model and data."""
    assert data.latest is not None
    periods = data.latest.select("valid_time").unique().sort("valid_time")["valid_time"]
    count = len(data.series_ids)
    series = f"{count:,} series" if count != 1 else "1 series"
    horizon = f"{len(periods)} {_PERIOD_NAMES[data.settings.pipeline.frequency]} from {times.format_period(periods[0])}"
    return f"{series}, {horizon}, by {_model(data, times)} with {_data_range(data.data_until, times)}"


def _model(data: PageData, times: LocalTimeFormat) -> str:
    assert data.latest is not None
    versions = data.latest["model_version"].drop_nulls().unique().to_list()
    if not versions:
        return "the baseline only"
    as_of = {manifest["version"]: manifest["as_of"] for manifest in data.manifests}
    if len(versions) > 1 or versions[0] not in as_of:
        return f"model {', '.join(sorted(versions))}"
    return f"the model of {times.format_day(datetime.fromisoformat(as_of[versions[0]]), year=True)}"


def _data_range(until: datetime | None, times: LocalTimeFormat) -> str:
    return f"data available until {times.format_moment(until)}" if until else "no target values"


def _degradation(data: PageData, record: RunRecord | None) -> str:
    """Return why the forecast is degraded: fallbacks with their most frequent reasons, and failed stages."""
    assert data.latest is not None
    total = len(data.series_ids)
    parts = []
    for status in (BASELINE, STALE_MODEL):
        rows = data.latest.filter(status=status)
        if rows.is_empty():
            continue
        reasons = rows.group_by("reason").len().sort("len", "reason", descending=[True, False])["reason"].to_list()
        more = f" and {len(reasons) - _MAX_REASONS} more reasons" if len(reasons) > _MAX_REASONS else ""
        # The champion makes these rows; only its inputs are late.
        feeds = tuple(f"{feed.name}: " for feed in data.settings.feed)
        is_late = status == STALE_MODEL and all(str(reason).startswith(feeds) for reason in reasons)
        source = "the model without all inputs" if is_late else STATUS_NAMES[status]
        parts.append(
            f"{rows['series_id'].n_unique():,} of {total:,} series by {source} because "
            f"{', or because '.join(str(reason) for reason in reasons[:_MAX_REASONS])}{more}"
        )
    parts += [f"{step_name(stage)} failed: {error}" for stage, error in _failures(record).items()]
    return "; ".join(parts) or "the run record has no reason for this"


def _quality(figures: Figures, scored: int) -> str:
    skill, coverage = figures["skill"], figures["coverage"]
    if not scored or skill is None:
        return "No earlier forecast has been scored yet"
    side = "below" if skill >= 0 else "above"
    interval = (
        "" if coverage is None else
        f", and the 80% interval contained {format_percent(coverage)} of the actuals"
    )  # fmt: skip
    nights = "night" if scored == 1 else f"{scored} nights"
    # After a backfill, the model of tonight need not have made any of them.
    by = "by its own model" if scored == 1 else "each by its own model"
    return f"Over the last {nights}, {by}, pinball was {format_percent(abs(skill))} {side} the baseline's{interval}"


def _notes(data: PageData, times: LocalTimeFormat, with_failures: bool = True) -> list[str]:
    notes = []
    if data.is_replay:
        notes.append(
            "This is a replay of the past: its issue time is long before the page was made. The verdict is for "
            f"{times.format_day(data.due, year=True)}."
        )
    failures = _failures(data.run_record(data.latest_issue_time)) if with_failures else {}
    notes += [
        f"{step_name(stage)} failed, and the run continued without it: {error}" for stage, error in failures.items()
    ]
    notes += [
        f"Not on this page, because it could not be read: {part} ({error})" for part, error in data.unreadable.items()
    ]
    return notes


def _failures(record: RunRecord | None) -> dict[str, str]:
    return (record.get("failures") if record else None) or {}


def _delay(record: RunRecord | None) -> timedelta | None:
    """Return the time from the deadline to publication: negative in time, None if the record lacks one of them."""
    published_at = record.get("published_at") if record else None
    deadline = record.get("deadline") if record else None
    if not published_at or not deadline:
        return None
    return datetime.fromisoformat(published_at) - datetime.fromisoformat(deadline)


def format_duration(length: timedelta) -> str:
    """Return a duration as `45 s`, `6 min`, `3 h 20 min` or `4 days`."""
    seconds = int(length.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} days"
