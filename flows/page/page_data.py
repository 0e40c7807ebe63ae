"""Tables and records of one pipeline's store, as the input of the report page. Each of them may be missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

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
    "series_id": pl.String(), "issue_time": INSTANT, "valid_time": INSTANT, "step": pl.Int32(), "actual": pl.Float64(),
    "error": pl.Float64(), "absolute_error": pl.Float64(), "pinball": pl.Float64(), "covered_80": pl.Float64(),
    "pit": pl.Float64(), "baseline_pinball": pl.Float64(), "baseline_absolute_error": pl.Float64(),
    "scale": pl.Float64(),
}  # fmt: skip

STATUS_SCHEMA: dict[str, pl.DataType] = {
    "issue_time": INSTANT, "status": pl.String(), "reason": pl.String(), "rows": pl.Int64(), "series": pl.Int64(),
}  # fmt: skip


class InputCurves(NamedTuple):
    """One covariate beside the target, as known at the issue time.

    Attributes:
        name: Name of the covariate.
        rows: Row of each series that has values, by row number in `PageData.series_ids`; None if all series share it.
        values: Shape (rows, steps) or (1, steps), in the columns of `PageData.actuals`, NaN where nothing is known.
    """

    name: str
    rows: dict[int, int] | None
    values: np.ndarray


class Download(NamedTuple):
    """One file of the newest forecast within the page."""

    name: str
    media_type: str
    content: bytes


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
        past_first_step: Step number of the first column of `past_actuals`.
        past_actuals: Target before the issue time, as far back as past forecasts are drawn, shape (S, steps).
        last_week: Target a week before each period of the horizon, shape (S, H), NaN where no value is known.
        past_forecasts: Rows of the last forecasts, for the comparison with `past_actuals`: issue_time, series_id,
            valid_time, step and the quantiles.
        complete_night: Newest forecast whose actuals are all known, with the column `actual`.
        inputs: Covariates of the horizon.
        holidays: Names of the holidays by local day.
        downloads: Files of the newest forecast, empty if they are too large for a page.
        pages: Issue times of the kept pages of earlier nights, newest first, with their links.
        inspections: Link to the inspection page of the newest forecast, by series.
        series_ids: Ids of the series in `latest`, sorted.
        issue_times: Last SHOWN_ISSUE_TIMES issue times with a forecast due or published, oldest first.
        status_counts: Numbers of rows and series by issue time, status and reason. Columns as in STATUS_SCHEMA.
        scores: Rows of the last SCORED_ISSUE_TIMES scored issue times. Columns as in SCORE_SCHEMA.
        run_records: Run records from storage/run_records.py, oldest first.
        manifests: Manifests of all models, oldest first.
        champion: Version of the champion.
        quarantined: Refused rows by feed, newest last.
        unreadable: Error by part of the page that could not be read.
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
    past_first_step: int = 0
    past_actuals: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    last_week: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    past_forecasts: pl.DataFrame = field(default_factory=pl.DataFrame)
    complete_night: pl.DataFrame | None = None
    inputs: tuple[InputCurves, ...] = ()
    holidays: dict[date, str] = field(default_factory=dict)
    downloads: tuple[Download, ...] = ()
    pages: tuple[tuple[datetime, str], ...] = ()
    inspections: dict[str, str] = field(default_factory=dict)
    series_ids: tuple[str, ...] = ()
    issue_times: tuple[datetime, ...] = ()
    status_counts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=STATUS_SCHEMA))
    scores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCORE_SCHEMA))
    run_records: tuple[RunRecord, ...] = ()
    manifests: tuple[Manifest, ...] = ()
    champion: str | None = None
    quarantined: dict[str, pl.DataFrame] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def latest_issue_time(self) -> datetime | None:
        """Issue time of the newest forecast."""
        return None if self.latest is None else self.latest["issue_time"][0]

    @property
    def unit(self) -> str:
        """The target's unit for display."""
        return self.settings.unit or "the target's unit"

    def first_step_at(self, instant: datetime) -> int:
        """Return the first step of the grid that begins at or after an instant."""
        return int(self.settings.grid.first_step(int(instant.timestamp()) * 1_000_000))

    def run_record(self, issue_time: datetime | None) -> RunRecord | None:
        """Return the newest run record of an issue time, None if there is none."""
        for record in reversed(self.run_records):
            if issue_time is not None and datetime.fromisoformat(record["issue_time"]) == issue_time:
                return record
        return None
