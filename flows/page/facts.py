"""What the page tells, gathered: tables and records, nothing computed yet. Any of it may be missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from storage.schemas import INSTANT

#: Nights that the page looks back on.
NIGHTS = 28
#: Nights of which the page says who made their rows, and why.
TOLD = 91

SCORES: dict[str, pl.DataType] = {
    "series_id": pl.String(), "issue_time": INSTANT, "step": pl.Int32(), "actual": pl.Float64(),
    "absolute_error": pl.Float64(), "pinball": pl.Float64(), "covered_80": pl.Float64(), "pit": pl.Float64(),
    "baseline_pinball": pl.Float64(), "baseline_absolute_error": pl.Float64(), "scale": pl.Float64(),
}  # fmt: skip

STATUSES: dict[str, pl.DataType] = {
    "issue_time": INSTANT, "status": pl.String(), "reason": pl.String(), "rows": pl.Int64(), "series": pl.Int64(),
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """One pipeline's store, as of `made_at`.

    Attributes:
        due: the newest issue time whose deadline has passed.
        replay: the data end long ago, and `due` is as of their end, not of the clock.
        latest, earlier: the newest forecast file and the one before it.
        data_until: when the newest target value that `latest` could see became known.
        series: ids of `latest`, sorted.
        first: step number of the first column of `actual`.
        actual: (S, N) float32, the target as known at `made_at`, NaN where it is not; from before the issue time
            of `latest` to the end of its horizon.
        issued: the last TOLD issue times that a forecast was due for or made at, oldest first.
        statuses: rows and series by issue time, status and reason, columns as STATUSES.
        scores: rows of the last NIGHTS scored issue times, columns as SCORES.
        nights: records as storage/run_records.py keeps them, oldest first.
        refused: quarantined rows by feed, newest last.
    """

    pipeline: Pipeline
    made_at: datetime
    due: datetime
    replay: bool = False
    latest: pl.DataFrame | None = None
    earlier: pl.DataFrame | None = None
    data_until: datetime | None = None
    newest_target: datetime | None = None
    first: int = 0
    actual: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    series: tuple[str, ...] = ()
    issued: tuple[datetime, ...] = ()
    statuses: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=STATUSES))
    scores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCORES))
    nights: tuple[dict[str, Any], ...] = ()
    manifests: tuple[dict[str, Any], ...] = ()
    champion: str | None = None
    refused: dict[str, pl.DataFrame] = field(default_factory=dict)

    @property
    def published(self) -> datetime | None:
        """Issue time of the newest forecast."""
        return None if self.latest is None else self.latest["issue_time"][0]

    @property
    def unit(self) -> str:
        """The target's unit as the page writes it."""
        return self.pipeline.unit or "the target's unit"

    def record(self, issue_time: datetime | None) -> dict[str, Any]:
        """The night's record of an issue time; empty where none was kept."""
        for record in reversed(self.nights):
            if issue_time is not None and datetime.fromisoformat(record["issue_time"]) == issue_time:
                return record
        return {}
