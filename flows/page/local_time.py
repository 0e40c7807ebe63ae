"""Times as people of the pipeline's zone write them, and where the axis of a chart is labelled.

The browser is told texts, never instants: no zone of the reader's and no clock change can shift them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Tick(NamedTuple):
    """A label at column `at`; of the levels, 0 is shown always, 1 and 2 only where there is room."""

    at: int
    level: int
    label: str


class LocalTimes:
    """Writes instants in `zone`; periods of `daily` pipelines are days, others have a time of day."""

    def __init__(self, zone: str, daily: bool) -> None:
        self._zone, self._daily = ZoneInfo(zone), daily

    def moment(self, instant: datetime, year: bool = False) -> str:
        """`Sat 1 Sep 00:00 EDT`: the abbreviation tells the two hours of an autumn night apart."""
        return self._write(instant, f"%a %-d %b{' %Y' if year else ''} %H:%M %Z")

    def clock(self, instant: datetime) -> str:
        """`00:04 EDT`."""
        return self._write(instant, "%H:%M %Z")

    def day(self, instant: datetime, year: bool = False) -> str:
        """`Sat 1 Sep`."""
        return self._write(instant, f"%a %-d %b{' %Y' if year else ''}")

    def period(self, start: datetime) -> str:
        """Name of the period that begins at `start`."""
        return self.day(start) if self._daily else self.moment(start)

    def ticks(self, starts: Sequence[datetime]) -> list[Tick]:
        """Labels of the periods that begin at `starts`: days and times of day, or weeks and days."""
        local = [start.astimezone(self._zone) for start in starts]
        found = []
        for at, here in enumerate(local):
            if self._daily:
                found.append(Tick(at, 0 if (len(local) - 1 - at) % 7 == 0 else 2, f"{here:%-d %b}"))
            # A clock change may skip midnight: the day's first period carries its name.
            elif here.date() != local[at - 1].date() if at else (here.hour, here.minute) == (0, 0):
                found.append(Tick(at, 0, f"{here:%a %-d %b}"))
            elif here.minute == 0 and here.hour % 6 == 0 and here.hour:
                found.append(Tick(at, 1 if here.hour == 12 else 2, f"{here:%H:%M}"))
        return found

    def nights(self, issues: Sequence[datetime]) -> list[Tick]:
        """Labels of an axis of nights: a week apart, counted back from the newest."""
        count = len(issues)
        return [
            Tick(at, 0 if (count - 1 - at) % 14 == 0 else 1, self._write(issue, "%-d %b"))
            for at, issue in enumerate(issues)
            if (count - 1 - at) % 7 == 0
        ]

    def segments(self, starts: Sequence[datetime], issue: int) -> list[Tick]:
        """Labels of segments that begin at `starts`; where room is short every second or fourth from `issue` on."""
        return [
            Tick(at, 0 if (at - issue) % 4 == 0 else 1 if (at - issue) % 2 == 0 else 2, self._write(start, "%-d %b"))
            for at, start in enumerate(starts)
        ]

    def _write(self, instant: datetime, shape: str) -> str:
        return f"{instant.astimezone(self._zone):{shape}}"


def at_micros(micros: int) -> datetime:
    """The instant `micros` microseconds after 1970-01-01, UTC."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
