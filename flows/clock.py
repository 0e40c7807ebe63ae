"""Clock and issue times: the only place that reads the present time, and the parser of times on the command line."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from storage.errors import ExpectedError

# Outside them, differences of times leave the range of datetime.
_FIRST_YEAR, _LAST_YEAR = 1900, 9900


class TimeError(ExpectedError, ValueError):
    """A text that is not a time or day. Exit status 2."""


def now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


def parse_time(text: str, timezone: str, issue_at: time = time(0)) -> datetime:
    """Return an ISO 8601 time in UTC. Without an offset it is local; a day alone is its issue time.

    A local time that a clock change repeats is its first instant. One that a clock change skips is moved by the same
    amount as the clock.

    Args:
        text: The time or day.
        timezone: Zone of a time without an offset, and of a day.
        issue_at: Local time of day that a day alone means.

    Raises:
        TimeError: If the text is not ISO 8601.
    """
    try:
        return issue_time_on(_within_years(text, date.fromisoformat(text)), issue_at, timezone)
    except TimeError:
        raise
    except ValueError:
        pass  # not a day alone
    try:
        parsed = _within_years(text, datetime.fromisoformat(text))
    except TimeError:
        raise
    except ValueError:
        raise TimeError(
            f"{text!r} is not a time in ISO 8601, or its day does not exist. Write year, month, day. Examples: "
            "2018-09-01 (the issue time of that day), 2018-09-01T10:30+02:00."
        ) from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=ZoneInfo(timezone))
    return parsed.astimezone(UTC)


_D = TypeVar("_D", bound=date)


def _within_years(text: str, day: _D) -> _D:
    """Return the day or time of a text unchanged. Raises TimeError if its year cannot be meant."""
    if _FIRST_YEAR <= day.year <= _LAST_YEAR:
        return day
    raise TimeError(f"{text!r} must be in one of the years {_FIRST_YEAR} to {_LAST_YEAR}. Correct the year.")


def parse_day(text: str) -> date:
    """Return an ISO 8601 day.

    Raises:
        TimeError: If the text is not ISO 8601.
    """
    try:
        return _within_years(text, date.fromisoformat(text))
    except TimeError:
        raise
    except ValueError:
        raise TimeError(
            f"{text!r} is not a day in ISO 8601, or does not exist. Write year, month, day. Example: 2018-09-01."
        ) from None


def issue_time_on(day: date, issue_at: time, timezone: str) -> datetime:
    """Return the issue time of a local day in UTC. Clock changes are treated as in `parse_time`."""
    return datetime.combine(day, issue_at, ZoneInfo(timezone)).astimezone(UTC)


def last_issue_time(issue_at: time, timezone: str, not_after: datetime) -> datetime:
    """Return the last issue time that is not after `not_after`, in UTC."""
    day = not_after.astimezone(ZoneInfo(timezone)).date()
    # A clock change can move an issue time past midnight, so yesterday's may still be too late.
    for days in (0, 1, 2):
        issue_time = issue_time_on(day - timedelta(days=days), issue_at, timezone)
        if issue_time <= not_after:
            return issue_time
    raise AssertionError("one of three days has an issue time")


def parse_days(start: str, end: str) -> tuple[date, date]:
    """Return the first and the last day of a range, both included.

    Raises:
        TimeError: If a text is not ISO 8601, or the last day is before the first.
    """
    first, last = _parse_option(start, "start"), _parse_option(end, "end")
    if last < first:
        raise TimeError(f"The end {end} is before the start {start}. Exchange them.")
    return first, last


def _parse_option(text: str, option: str) -> date:
    try:
        return parse_day(text)
    except TimeError as error:
        raise TimeError(f"{option}: {error}") from None


def default_issue_time(issue_at: time, timezone: str, newest_target: datetime | None, now: datetime) -> datetime:
    """Return the last issue time that is neither after `now` nor after the newest target value."""
    return last_issue_time(issue_at, timezone, min(now, newest_target) if newest_target else now)
