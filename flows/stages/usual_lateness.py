"""Typical lateness of an input: how many of its periods were missing at the last issue times, by series."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from flows import clock
from flows.settings.feed import Feed
from flows.settings.pipeline import Pipeline
from flows.stages.panels import to_instant, to_micros
from storage import history, run_records
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import RunRecord
from storage.store import Store

logger = logging.getLogger(__name__)

_DAYS = 28  # earlier issue times that are looked at
_RARE = 0.11  # Share of the issue times whose larger lateness is not typical: less than one day a week.
#: Key of a covariate that all series share, instead of an id.
SHARED = ""


@dataclass(frozen=True)
class Input:
    """One variable that a model receives.

    Attributes:
        name: Column of the values.
        feeds: Feeds with this column.
        is_future: Whether the values of the horizon count (`known_future`), else those before the issue time.
    """

    name: str
    feeds: tuple[Feed, ...]
    is_future: bool

    @property
    def is_shared(self) -> bool:
        """True if all series share the values."""
        return all(feed.series_id is None for feed in self.feeds) and self.feeds[0].role != "target"

    @property
    def delay(self) -> timedelta:
        """Time from the end of a period until its value is due: the shortest `available_after` of the feeds."""
        return min(feed.available_after for feed in self.feeds)


@dataclass(frozen=True)
class UsualLateness:
    """Lateness at earlier issue times, by series id.

    Attributes:
        late: Periods between the newest one and the last one that was due.
        missing: Periods of the horizon without a value.
    """

    late: Mapping[str, int]
    missing: Mapping[str, int]


def due_step(settings: Pipeline, source: Input, issue_time: datetime) -> int:
    """Return the newest step whose value is due at `issue_time` by the settings of its feeds."""
    grid, issue = settings.grid, to_micros(issue_time)
    if source.is_future:
        return grid.first_step(issue) + settings.pipeline.horizon - 1
    latest_end = to_micros(issue_time - source.delay)
    step = int(grid.index(np.array([latest_end]))[0])
    while int(grid.end(np.array([step]))[0]) > latest_end:
        step -= 1
    return step


def usual_lateness(
    settings: Pipeline, store: Store, source: Input, series: Sequence[str], issue_time: datetime
) -> UsualLateness:
    """Return the lateness that was exceeded at few of the last issue times, by series.

    At an earlier issue time, a value counts if it was available then. Since the first ingest of its feed it must also
    have been ingested before that forecast was published. Issue times since which no period has arrived are part of the
    present delay and do not count. Neither do runs whose ingest failed, however often it fails.

    Args:
        settings: Settings of the pipeline.
        store: Store with the history.
        source: The input.
        series: Series ids, sorted. They are ignored for an input that all series share.
        issue_time: Issue time whose forecast is being made.
    """
    times = _earlier_issue_times(settings, issue_time)
    arrivals = _read_arrivals(settings, store, source, series, issue_time)
    if not times or arrivals.is_empty():
        return UsualLateness({}, {})
    published_at = _publication_times(settings, store, source, times)
    if not published_at:
        return UsualLateness({}, {})
    horizon = settings.pipeline.horizon
    tables = []
    for time in published_at:
        due = due_step(settings, source, time)
        known = pl.col("available_at").is_null() | (pl.col("available_at") <= time)
        in_time = pl.col("ingested_at") <= published_at[time]
        known &= in_time | (pl.col("first_ingest") > published_at[time])
        in_horizon = pl.col("step").is_between(due - horizon + 1, due)
        tables.append(
            arrivals.filter(known).group_by("series_id").agg(
                newest=pl.col("step").max(), late=(due - pl.col("step").max()).clip(0),
                missing=horizon - pl.col("step").filter(in_horizon).n_unique(),
            )
        )  # fmt: skip
    newest_now = arrivals.group_by("series_id").agg(newest_now=pl.col("step").max())
    table = pl.concat(tables).join(newest_now, on="series_id")
    return _usual(table.filter((pl.col("late") == 0) | (pl.col("newest") < pl.col("newest_now"))))


def _usual(table: pl.DataFrame) -> UsualLateness:
    # With few issue times this is the largest value.
    rank = (pl.len() * _RARE).cast(pl.UInt32)
    usual = table.group_by("series_id").agg(
        pl.col(name).sort(descending=True).get(rank).alias(name) for name in ("late", "missing")
    )
    ids = usual["series_id"].to_list()
    return UsualLateness(
        *(dict(zip(ids, usual[name].to_list(), strict=True)) for name in ("late", "missing"))
    )  # fmt: skip


def _earlier_issue_times(settings: Pipeline, issue_time: datetime) -> list[datetime]:
    """Return the last issue times before `issue_time` at its local time of day."""
    zone = settings.pipeline.timezone
    local = issue_time.astimezone(ZoneInfo(zone))
    days = np.array([local.date() - timedelta(days=back) for back in range(_DAYS, 0, -1)], "datetime64[D]")
    days = days[settings.grid.is_period_date(days)]
    return [clock.issue_time_on(day, local.time(), zone) for day in days.tolist()]


def _publication_times(
    settings: Pipeline, store: Store, source: Input, times: Sequence[datetime]
) -> dict[datetime, datetime]:
    """Return when the forecast of each issue time was published: as its run record says, else by its deadline.

    Issue times whose run could not ingest a feed of the input are left out.
    """
    published = {time: time + settings.forecast.deadline for time in times}
    records = attempt(partial(run_records.read, store, settings.name, times[0]))
    if isinstance(records, Failed):
        logger.warning(
            "Cannot read when earlier forecasts were published (%s). Their deadlines are used.", records.text
        )
        return published
    ingests = {"ingest", *(f"ingest:{feed.name}" for feed in source.feeds)}
    for record in records:
        found = attempt(partial(_publication, record))
        if isinstance(found, Failed) or found[0] not in published:
            continue
        issue_time, published[issue_time], failures = found
        if ingests & failures:
            del published[issue_time]
    return published


def _publication(record: RunRecord) -> tuple[datetime, datetime, set[str]]:
    """Return issue time, time of publication and failures of a run. Raises an error if the record lacks one of them."""
    published_at = datetime.fromisoformat(str(record["published_at"]))
    return datetime.fromisoformat(record["issue_time"]), published_at, set(record["failures"])


def _read_arrivals(
    settings: Pipeline, store: Store, source: Input, series: Sequence[str], issue_time: datetime
) -> pl.DataFrame:
    """Return the arrivals of the values that earlier issue times could see.

    Returns:
        Columns series_id, step, available_at, ingested_at and first_ingest of the feed.
    """
    grid = settings.grid
    first = grid.first_step(to_micros(issue_time)) - settings.pipeline.context
    since = to_instant(int(grid.start(np.array([first]))[0])) - timedelta(days=_DAYS)
    within = None if source.is_shared else (series[0], series[-1])
    tables = []
    for feed in source.feeds:
        first_ingest = history.first_ingest(store, settings.name, feed.name)
        rows = history.read_arrivals(store, settings.name, feed.name, source.name, issue_time, since, within)
        tables.append(rows.with_columns(first_ingest=pl.lit(first_ingest, dtype=pl.Datetime("us", "UTC"))))
    rows = pl.concat(tables)
    if not source.is_shared:
        rows = rows.filter(pl.col("series_id").is_in(pl.Series(series).implode()))
    step = pl.Series("step", grid.index(rows["valid_time"].dt.epoch("us").to_numpy()))
    return rows.with_columns(step, pl.col("series_id").fill_null(SHARED))
