"""Layout of a feed's table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class FeedShape:
    """How a feed's table is to be read; see `[[feed]]` of the pipeline file."""

    name: str
    role: str
    series_id: str | None
    valid_time: str
    values: tuple[str, ...]
    time_zone: str
    available_after: timedelta
    available_at: str | None
    resample: str | None = None

    @property
    def columns(self) -> list[str]:
        """The columns that the source must have."""
        named = [self.series_id, self.valid_time, self.available_at, *self.values]
        return list(dict.fromkeys(column for column in named if column is not None))
