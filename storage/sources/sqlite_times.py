"""Bounds of a query in the form in which a SQLite table stores its times.

SQLite has no type for times and compares texts. '2018-09-01T00:00' is after '2018-09-01 23:00', so a bound in another
form than the column's would leave out a day. The first and the last time of the table show the form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from storage.schemas import DataError

Bound = str | int

#: Bounds that select every row: SQLite orders numbers before texts, and a text column compares -9... as text.
EVERYTHING: tuple[Bound, Bound] = (-(9 * 10**18), "~")

_ISO = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:(?P<separator>[T ])\d\d:\d\d(?P<seconds>:\d\d)?(?P<fraction>\.\d+)?(?P<offset>Z| ?[+-]\d\d(?::?\d\d)?)?)?"
)
_EPOCH = re.compile(r"\d{9,17}")
_UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6))  # numbers below the first are in seconds, and so on
_DST = timedelta(hours=2)  # Offsets of one zone differ by at most this much.


@dataclass(frozen=True)
class TimeForm:
    """Form of stored times: the pattern of ISO 8601 texts, or numbers since 1970.

    Attributes:
        separator: "T" or " " between date and time, "" for dates.
        seconds: True if times have seconds.
        digits: Number of digits of the fraction of a second.
        offset: Text of the offset from UTC, "" without one.
        zone: Zone of the times.
        per_second: Units per second of a number, 0 for ISO 8601 texts.
        is_text: True for a number that is stored as text.
    """

    separator: str = " "
    seconds: bool = True
    digits: int = 0
    offset: str = ""
    zone: tzinfo = UTC
    per_second: int = 0
    is_text: bool = True

    @classmethod
    def of(cls, cell: object, zone: tzinfo) -> TimeForm | None:
        """Return the form of a stored time, None if it has none that sorts by time.

        Args:
            cell: The stored time.
            zone: Zone of times without an offset.
        """
        if isinstance(cell, int | float) or (isinstance(cell, str) and _EPOCH.fullmatch(cell)):
            number = abs(float(cell))
            units = [unit for limit, unit in _UNITS if number < limit]
            return cls(per_second=units[0], is_text=isinstance(cell, str)) if units else None
        match = _ISO.fullmatch(cell) if isinstance(cell, str) else None
        if match is None:
            return None
        offset = match["offset"] or ""
        fraction = match["fraction"] or ""
        return cls(
            match["separator"] or "", match["seconds"] is not None, max(0, len(fraction) - 1), offset,
            _parse_offset(offset) if offset else zone,
        )  # fmt: skip

    def lower(self, instant: datetime) -> Bound:
        """Return the latest bound in this form that no time from `instant` on is below."""
        return self._bound(instant - self._margin, is_upper=False)

    def upper(self, instant: datetime) -> Bound:
        """Return the earliest bound in this form that no time before `instant` reaches."""
        return self._bound(instant + self._margin, is_upper=True)

    @property
    def _margin(self) -> timedelta:
        """Time by which other rows may be off, because their offsets may differ."""
        return _DST if self.offset and self.zone.utcoffset(None) else timedelta(0)

    def _bound(self, instant: datetime, is_upper: bool) -> Bound:
        if self.per_second:
            micros = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
            number = -(-micros * self.per_second // 1_000_000) if is_upper else micros * self.per_second // 1_000_000
            return str(number) if self.is_text else number
        local = instant.astimezone(self.zone).replace(tzinfo=None)
        truncated = self._truncate(local)
        if is_upper and truncated < local:
            truncated = self._truncate(truncated + self._unit)
        text = truncated.strftime("%Y-%m-%d")
        if not self.separator:
            return text
        text += truncated.strftime(f"{self.separator}%H:%M{':%S' if self.seconds else ''}")
        if self.digits:
            text += f".{truncated.microsecond:06d}".ljust(self.digits + 1, "0")[: self.digits + 1]
        return text + self.offset

    @property
    def _unit(self) -> timedelta:
        if not self.separator:
            return timedelta(days=1)
        if not self.seconds:
            return timedelta(minutes=1)
        return timedelta(microseconds=10 ** max(0, 6 - self.digits))

    def _truncate(self, local: datetime) -> datetime:
        start = datetime(1970, 1, 1)
        return start + (local - start) // self._unit * self._unit


def bounds(cells: Sequence[object], since: datetime, until: datetime, zone: tzinfo) -> tuple[Bound, Bound]:
    """Return the bounds of a query for times that look like `cells`. With several forms, no time is left out.

    Args:
        cells: First and last time of the table. Without any, the form is '2018-09-01 00:00:00'.
        since: Earliest time to select.
        until: End of the times to select.
        zone: Zone of times without an offset.

    Raises:
        DataError: The times have a form that does not sort by time.
    """
    forms = [TimeForm.of(cell, zone) for cell in cells] or [TimeForm(zone=zone)]
    unknown = [cell for cell, form in zip(cells, forms, strict=False) if form is None]
    if unknown:
        raise DataError(
            f"times such as {unknown[0]!r} do not sort by time, so :since and :until cannot select them; convert them "
            "to YYYY-MM-DD HH:MM:SS in the query, or leave :since and :until out"
        )
    known = [form for form in forms if form is not None]
    return (
        min((form.lower(since) for form in known), key=_order),
        max((form.upper(until) for form in known), key=_order),
    )


def _order(bound: Bound) -> tuple[bool, float, str]:
    """Return the sort key of SQLite, which has numbers before texts."""
    return (True, 0.0, bound) if isinstance(bound, str) else (False, float(bound), "")


def _parse_offset(offset: str) -> tzinfo:
    if offset == "Z":
        return UTC
    digits = re.sub(r"\D", "", offset).ljust(4, "0")
    length = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-length if "-" in offset else length)
