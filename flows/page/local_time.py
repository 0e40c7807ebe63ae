"""Format of times in the pipeline's zone, and labels of a chart's time axis.

The browser receives finished texts. So neither the reader's zone nor a clock change can shift a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

_DAILY = ("1d", "1b")
_DAYS_WITH_HOURS = timedelta(days=5)  # longest axis on which times of day have labels


class Tick(NamedTuple):
    """One label of an axis.

    Attributes:
        at: Column number.
        level: 0 if the label is always shown, 1 if only on charts of medium width, 2 if only on wide charts.
        label: Text.
    """

    at: int
    level: int
    label: str


class LocalTimeFormat:
    """Format of times in one zone. Periods of daily pipelines are written as days, other periods with their time."""

    def __init__(self, zone: str, frequency: str) -> None:
        self._zone, self._is_daily = ZoneInfo(zone), frequency in _DAILY

    def format_moment(self, instant: datetime, year: bool = False) -> str:
        """Return day, time and zone, for example `Sat 1 Sep 00:00 EDT`.

        The zone's abbreviation distinguishes the two equal hours at the end of summer time.
        """
        return self._format(instant, f"%a %-d %b{' %Y' if year else ''} %H:%M %Z")

    def format_clock(self, instant: datetime) -> str:
        """Return time and zone, for example `00:04 EDT`."""
        return self._format(instant, "%H:%M %Z")

    def format_day(self, instant: datetime, year: bool = False) -> str:
        """Return the day, for example `Sat 1 Sep`."""
        return self._format(instant, f"%a %-d %b{' %Y' if year else ''}")

    def format_period(self, start: datetime) -> str:
        """Return the name of the period that begins at `start`."""
        return self.format_day(start) if self._is_daily else self.format_moment(start)

    def format_peak(self, start: datetime) -> str:
        """Return the name of the period that begins at `start` without the zone, for example `Sat 1 Sep 17:00`."""
        return self.format_day(start) if self._is_daily else self._format(start, "%a %-d %b %H:%M")

    def local(self, instant: datetime) -> datetime:
        """Return the instant in the pipeline's zone."""
        return instant.astimezone(self._zone)

    def period_ticks(self, starts: Sequence[datetime]) -> list[Tick]:
        """Return labels of consecutive periods: weeks and days if daily, else days, with times of day if few."""
        local_starts = [start.astimezone(self._zone) for start in starts]
        has_hours = bool(starts) and starts[-1] - starts[0] <= _DAYS_WITH_HOURS
        ticks = []
        for at, local in enumerate(local_starts):
            if self._is_daily:
                ticks.append(Tick(at, 0 if (len(local_starts) - 1 - at) % 7 == 0 else 2, f"{local:%-d %b}"))
            # A clock change may skip midnight, so the first period of a day gets the day's label.
            elif local.date() != local_starts[at - 1].date() if at else (local.hour, local.minute) == (0, 0):
                ticks.append(Tick(at, 0, f"{local:%a %-d %b}"))
            elif has_hours and local.minute == 0 and local.hour % 6 == 0 and local.hour:
                ticks.append(Tick(at, 1 if local.hour == 12 else 2, f"{local:%H:%M}"))
        return ticks

    def issue_ticks(self, issue_times: Sequence[datetime]) -> list[Tick]:
        """Return labels of an axis of issue times: every seventh, counted back from the newest."""
        count = len(issue_times)
        return [
            Tick(at, 0 if (count - 1 - at) % 14 == 0 else 1, self._format(issue_time, "%-d %b"))
            for at, issue_time in enumerate(issue_times)
            if (count - 1 - at) % 7 == 0
        ]

    def segment_ticks(self, starts: Sequence[datetime], issue_column: int) -> list[Tick]:
        """Return labels of segments. Narrow charts show every second or fourth, counted from `issue_column`."""
        return [
            Tick(
                at,
                0 if (at - issue_column) % 4 == 0 else 1 if (at - issue_column) % 2 == 0 else 2,
                self._format(start, "%-d %b"),
            )
            for at, start in enumerate(starts)
        ]

    def _format(self, instant: datetime, pattern: str) -> str:
        return f"{instant.astimezone(self._zone):{pattern}}"


def instant_from_micros(micros: int) -> datetime:
    """Return the instant that is `micros` microseconds after 1970-01-01 UTC."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
