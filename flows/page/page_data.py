"""Tables and records of one pipeline's store, as the input of the report page. Each of them may be missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from flows.settings.pipeline import Pipeline
from storage.schemas import INSTANT
from storage.schemas.records import Manifest, RunRecord

#: Number of scored issue times in the figures of the page.
SCORED_ISSUE_TIMES = 28
#: Number of issue times for which the page shows statuses and reasons.
SHOWN_ISSUE_TIMES = 91

SCORE_SCHEMA: dict[str, pl.DataType] = {
    "series_id": pl.String(), "issue_time": INSTANT, "step": pl.Int32(), "actual": pl.Float64(),
    "absolute_error": pl.Float64(), "pinball": pl.Float64(), "covered_80": pl.Float64(), "pit": pl.Float64(),
    "baseline_pinball": pl.Float64(), "baseline_absolute_error": pl.Float64(), "scale": pl.Float64(),
}  # fmt: skip

STATUS_SCHEMA: dict[str, pl.DataType] = {
    "issue_time": INSTANT, "status": pl.String(), "reason": pl.String(), "rows": pl.Int64(), "series": pl.Int64(),
}  # fmt: skip


@dataclass(frozen=True)
class PageData:
    """Content of one pipeline's store at `made_at`. S is the number of series.

    Attributes:
        settings: Settings of the pipeline.
        made_at: Time at which the page is made.
        due: Newest issue time whose deadline has passed.
        is_replay: True if the data end long before `made_at`. Then `due` follows from the end of the data.
        latest: Newest forecast file.
        earlier: Forecast file before `latest`.
        data_until: Time at which the newest target value visible to `latest` became available.
        newest_target: Time at which the newest target value in the store became available.
        first_step: Step number of the first column of `actuals`.
        actuals: Target as known at `made_at`, shape (S, steps), float32, NaN where no value is known. It reaches from
            before the issue time of `latest` to the end of its horizon.
        series_ids: Ids of the series in `latest`, sorted.
        issue_times: Last SHOWN_ISSUE_TIMES issue times with a forecast due or published, oldest first.
        status_counts: Numbers of rows and series by issue time, status and reason. Columns as in STATUS_SCHEMA.
        scores: Rows of the last SCORED_ISSUE_TIMES scored issue times. Columns as in SCORE_SCHEMA.
        run_records: Run records from storage/run_records.py, oldest first.
        manifests: Manifests of all models, oldest first.
        champion: Version of the champion.
        quarantined: Refused rows by feed, newest last.
    """

    settings: Pipeline
    made_at: datetime
    due: datetime
    is_replay: bool = False
    latest: pl.DataFrame | None = None
    earlier: pl.DataFrame | None = None
    data_until: datetime | None = None
    newest_target: datetime | None = None
    first_step: int = 0
    actuals: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    series_ids: tuple[str, ...] = ()
    issue_times: tuple[datetime, ...] = ()
    status_counts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=STATUS_SCHEMA))
    scores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCORE_SCHEMA))
    run_records: tuple[RunRecord, ...] = ()
    manifests: tuple[Manifest, ...] = ()
    champion: str | None = None
    quarantined: dict[str, pl.DataFrame] = field(default_factory=dict)

    @property
    def latest_issue_time(self) -> datetime | None:
        """Issue time of the newest forecast."""
        return None if self.latest is None else self.latest["issue_time"][0]

    @property
    def unit(self) -> str:
        """The target's unit for display."""
        return self.settings.unit or "the target's unit"

    def run_record(self, issue_time: datetime | None) -> RunRecord | None:
        """Return the newest run record of an issue time, None if there is none."""
        for record in reversed(self.run_records):
            if issue_time is not None and datetime.fromisoformat(record["issue_time"]) == issue_time:
                return record
        return None
