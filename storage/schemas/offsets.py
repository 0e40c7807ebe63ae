"""Fixed offsets from UTC, written like `-05:00`. They stand for a time zone without clock changes."""

from __future__ import annotations

import re
from datetime import timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

#: Pattern of an offset from UTC.
OFFSET = r"[+-](0\d|1[0-4]):[0-5]\d"


def parse_offset(zone: str) -> timedelta | None:
    """Return the offset that a text such as `-05:00` names, or None for the name of a time zone."""
    if not re.fullmatch(OFFSET, zone):
        return None
    size = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return -size if zone[0] == "-" else size


def offset_text(offset: timedelta) -> str:
    """Return an offset as text, such as `-05:00`."""
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def to_tzinfo(zone: str) -> tzinfo:
    """Return the time zone of an IANA name or of an offset."""
    offset = parse_offset(zone)
    return ZoneInfo(zone) if offset is None else timezone(offset)
