"""Issue times: the only place that says when 'now' is and what a T on the command line means."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


class TimeError(ValueError):
    """A time that was given cannot be read. Exit status 2."""


def now() -> datetime:
    """The present, UTC."""
    return datetime.now(UTC)


def parse_time(text: str, timezone: str) -> datetime:
    """ISO 8601 to UTC; without an offset it is in `timezone`. A day alone is its midnight.

    A local time that a clock change repeats is its first instant; one that it skips is moved on by as much.

    Raises:
        TimeError: it is no ISO 8601 time.
    """
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError:
        raise TimeError(f"{text!r} is not a time in ISO 8601, such as 2018-09-01 or 2018-09-01T10:30+02:00") from None
    if time_.tzinfo is None:
        time_ = time_.replace(tzinfo=ZoneInfo(timezone))
    return time_.astimezone(UTC)


def issue_time_on(day: date, issue_at: time, timezone: str) -> datetime:
    """The instant at local `issue_at` of `day`; UTC. At a clock change as `parse_time` has it."""
    return datetime.combine(day, issue_at, ZoneInfo(timezone)).astimezone(UTC)


def parse_day(text: str) -> date:
    """An ISO 8601 day. Raises TimeError for anything else."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise TimeError(f"{text!r} is not a day in ISO 8601, such as 2018-09-01") from None


def last_issue_time(issue_at: time, timezone: str, not_after: datetime) -> datetime:
    """The last instant at local `issue_at` that is not after `not_after`; UTC."""
    day = not_after.astimezone(ZoneInfo(timezone)).date()
    for back in (0, 1, 2):
        found = issue_time_on(day - timedelta(days=back), issue_at, timezone)
        if found <= not_after:
            return found
    raise AssertionError("some day in three has an issue time")


def default_issue_time(issue_at: time, timezone: str, newest_target: datetime | None, present: datetime) -> datetime:
    """The last issue time not after `present` and not after the newest target available."""
    return last_issue_time(issue_at, timezone, min(present, newest_target) if newest_target else present)
