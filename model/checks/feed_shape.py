"""Layout of a feed's table."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from model.checks.repeated_hour import Fold
from model.checks.text_format import TextFormat


@dataclass(frozen=True)
class FeedShape:
    """Columns of a feed's table and their meaning, as in `[[feed]]` of the pipeline file.

    Attributes:
        name: Name of the feed.
        role: "target", "known_future" or "observed".
        series_id: Column of the series ids. None: one series, or covariates that all series share.
        valid_time: Column of the start of the period.
        values: Columns of the values.
        time_zone: Zone of naive times: an IANA name, or an offset such as "-05:00".
        available_after: Delay from the end of a period until its value is known.
        available_at: Column of the instant at which a row became known, or None.
        resample: "sum", "mean" or "last" to aggregate finer periods, or None.
        upsample: "repeat" or "divide" to spread coarser periods, or None.
        fold: Instant of a repeated wall-clock time that the rows leave open.
        repeats: "error" if a table in which most keys repeat with different values is refused, "last" if the last row
            of each key counts.
        text: How the cells of text columns are written.
        label: "start" or "end": which end of its period `valid_time` names.
        period: Length of the feed's own periods, for ends of finer periods. None: that of the pipeline.
        early: "accept", "warn" or "refuse": action on values that claim to be known before their period ends.
    """

    name: str
    role: str
    series_id: str | None
    valid_time: str
    values: tuple[str, ...]
    time_zone: str
    available_after: timedelta
    available_at: str | None
    resample: str | None = None
    upsample: str | None = None
    fold: Fold = "auto"
    repeats: str = "error"
    text: TextFormat = field(default_factory=TextFormat)
    label: str = "start"
    period: timedelta | None = None
    early: str = "accept"

    @property
    def columns(self) -> list[str]:
        """Columns that the source must have."""
        named = [self.series_id, self.valid_time, self.available_at, *self.values]
        return list(dict.fromkeys(column for column in named if column is not None))
