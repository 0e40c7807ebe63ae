"""Problems that a check finds in feeds that can be read: another frequency, too little history, other series."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import polars as pl

from flows.settings.feed import Feed
from flows.settings.pipeline import Pipeline
from flows.stages.panels import to_micros
from flows.stages.training_data import excluded_days
from model.checks.feed_rows import CheckedRows
from model.evaluation.promotion import MIN_ISSUE_TIMES
from model.timegrid import DAY, SUBDAILY
from storage import history
from storage.schemas import DataError
from storage.schemas.attempts import Failed, attempt
from storage.store import Store

_MOST_COMPARED = 1000  # series. With more, the ids of the history take seconds to read.
_SAMPLE = 10_000  # rows of a feed from which its spacing is measured
_OFF_GRID = 0.4  # share of refused rows from which a feed may be finer than the pipeline
_WALL = pl.Datetime("us")
_TYPICAL = 0.5  # share of the distances between rows that a spacing must have
_NEAR_START = timedelta(days=2)  # A first row so close to the requested start says nothing about older rows.
_NAMES = {
    SUBDAILY["15m"]: "quarter-hourly", SUBDAILY["30m"]: "half-hourly", SUBDAILY["1h"]: "hourly", DAY: "daily",
    7 * DAY: "weekly",
}  # fmt: skip
_FREQUENCIES = {DAY: "1d", **{length: name for name, length in SUBDAILY.items()}}


def unwritable_store(store: Store) -> str | None:
    """Return why the store cannot be written, None if it can. What is written is removed again."""
    try:
        store.probe()
    except (DataError, OSError) as error:
        return f"pipeline.store: {error}"
    return None


def other_frequency(settings: Pipeline, feed: Feed, checked: CheckedRows) -> str | None:
    """Return that most rows of a feed are further apart, or closer, than the periods of the pipeline."""
    expected = settings.grid.step or DAY
    refused = sum(group.rows for group in checked.reasons)
    is_finer = not feed.resample and refused >= _OFF_GRID * checked.read
    # Finer rows are refused, as they are off the grid. Coarser ones are all on it, and a covariate may be so.
    if not is_finer and feed.role != "target":
        return None
    times = _times(feed, checked.accepted)
    spacing = _spacing(pl.concat([times, _refused_times(feed, checked)]) if is_finer else times)
    if (
        spacing is None
        or spacing == expected
        or (spacing < expected) != is_finer
        or max(spacing, expected) % min(spacing, expected)
    ):
        return None
    text = _NAMES.get(spacing, f"like one row every {_length(spacing)}")
    remedy = f'Set frequency = "{_FREQUENCIES[spacing]}"' if spacing in _FREQUENCIES else "Correct the frequency"
    remedy += ', or resample = "mean" or "sum" in the feed' if is_finer else ", or correct the feed"
    return (
        f'feed {feed.name!r}: this looks {text}, but pipeline.frequency is "{settings.pipeline.frequency}". {remedy}.'
    )


def _length(microseconds: int) -> str:
    """Return a length of time in days or minutes."""
    minutes = microseconds // 60_000_000
    days = minutes // 1440
    return f"{minutes} minutes" if minutes % 1440 else "day" if days == 1 else f"{days} days"


def _times(feed: Feed, accepted: pl.DataFrame) -> pl.DataFrame:
    """Return the times of the accepted rows by the clock of the feed, with their series."""
    rows = accepted.head(_SAMPLE)
    ids = rows["series_id"] if feed.series_id else pl.repeat("", len(rows), eager=True)
    return pl.DataFrame({"series_id": ids, "time": _to_wall_clock(feed, rows["valid_time"])})


def _refused_times(feed: Feed, checked: CheckedRows) -> pl.DataFrame:
    """Return the times of the refused rows by the clock of the feed, as far as they can be read, with their series."""
    rows = checked.refused.head(_SAMPLE)
    times = rows[feed.valid_time] if feed.valid_time in rows.columns else pl.Series([], dtype=_WALL)
    if times.dtype == pl.String:
        try:
            times = times.str.to_datetime(strict=False, time_unit="us")
        except pl.exceptions.ComputeError:  # in none of the forms that Polars knows
            times = pl.Series([], dtype=_WALL)
    if not times.dtype.is_temporal() or not len(times):
        return pl.DataFrame(schema={"series_id": pl.String, "time": _WALL})
    has_ids = feed.series_id is not None and feed.series_id in rows.columns
    ids = rows[str(feed.series_id)].cast(pl.String) if has_ids else pl.repeat("", len(rows), eager=True)
    return pl.DataFrame({"series_id": ids, "time": _to_wall_clock(feed, times)}).drop_nulls("time")


def _to_wall_clock(feed: Feed, times: pl.Series) -> pl.Series:
    zone = getattr(times.dtype, "time_zone", None)
    if zone is not None and feed.fixed_offset is None:
        times = times.dt.convert_time_zone(feed.time_zone).dt.replace_time_zone(None)
    elif zone is not None:
        times = times.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return times.cast(_WALL)


def _spacing(times: pl.DataFrame) -> int | None:
    """Return the distance in microseconds that most neighbouring rows of a series have, None if there is none."""
    rows = times.head(_SAMPLE).sort("series_id", "time")
    is_same = pl.col("series_id").eq_missing(pl.col("series_id").shift())
    steps = rows.select(step=pl.col("time").diff().dt.total_microseconds().filter(is_same))["step"]
    steps = steps.filter(steps > 0)
    if len(steps) < 3:
        return None
    counts = steps.value_counts(sort=True)
    distance, count = counts.row(0)
    return int(distance) if count >= _TYPICAL * len(steps) else None


def short_history(
    settings: Pipeline, checked: Mapping[str, CheckedRows], since: Mapping[str, datetime], stored: datetime | None
) -> str | None:
    """Return that the target is too short for context and horizon, or for a training. None if it is long enough.

    Args:
        settings: Settings of the pipeline.
        checked: Checked rows by feed.
        since: Start of the time that was requested from each feed.
        stored: Start of the first period in the history of the target, None without any.
    """
    feeds = [feed for feed in settings.feeds("target") if feed.name in checked]
    spans = [_span(checked[feed.name]) for feed in feeds]
    if not feeds or all(span is None for span in spans):
        return None
    for feed, span in zip(feeds, spans, strict=True):
        # A source that selects by time may have older rows.
        requested = since[feed.name]
        if feed.source not in ("file", "s3") and span and span[0] < requested + _NEAR_START and requested > feed.start:
            return None
    grid, section = settings.grid, settings.pipeline
    first = min(span[0] for span in spans if span)
    last = max(span[1] for span in spans if span)
    if stored is not None:
        first = min(first, stored)
    begin, end = grid.index(np.array([to_micros(first), to_micros(last)])).tolist()
    steps = end - begin + 1
    until = f"from {settings.local_text(first)[:10]} to {settings.local_text(last)[:10]}"
    window = f"the context of {section.context:,} and the horizon of {section.horizon:,} steps"
    if steps < section.context + section.horizon:
        key = "horizon" if section.horizon > section.context else "context"
        return (
            f"pipeline.{key}: {window} need {section.context + section.horizon:,} steps, but the target has only "
            f"{steps:,}, {until}. Choose shorter ones, or provide more history."
        )
    needed = section.context + section.horizon + 5 * MIN_ISSUE_TIMES * grid.steps_per_day
    if steps < needed:
        return (
            f"feed {feeds[0].name!r}: {steps:,} steps of history, {until}, are too few to train on: with {window}, "
            f"{needed:,} are needed. Until then, `gatecast nightly` publishes the baseline. Provide more history, or "
            f"choose a shorter {'horizon' if section.horizon > section.context else 'context'}."
        )
    return _excluded_history(settings, begin, end, until)


def _excluded_history(settings: Pipeline, begin: int, end: int, until: str) -> str | None:
    """Return that `training.exclude` leaves no step behind the first context to train on, None if it leaves some."""
    steps = np.arange(begin + settings.pipeline.context, end + 1)
    excluded = excluded_days(settings, settings.grid.dates(steps))
    if not settings.training.exclude or not excluded.all():
        return None
    periods = ", ".join(f'"{start}/{last}"' for start, last in settings.training.exclude)
    return (
        f"training.exclude: [{periods}] leaves nothing to train on: the target has values {until}, and its first "
        f"{settings.pipeline.context:,} steps are context only. Exclude fewer days."
    )


def _span(checked: CheckedRows) -> tuple[datetime, datetime] | None:
    first, last = checked.accepted.select(first=pl.col("valid_time").min(), last=pl.col("valid_time").max()).row(0)
    return None if first is None else (first, last)


def other_series(settings: Pipeline, store: Store, feed: Feed, rows: CheckedRows, now: datetime) -> str | None:
    """Return what to do if the history of a target has series, and none of them is among those of its feed.

    That is so where a second pipeline file of the same name and store has other data. Its series would be forecast by
    the model of the first one.

    Args:
        settings: Settings of the pipeline.
        store: Store of the pipeline.
        feed: The feed.
        rows: Checked rows of the feed.
        now: Present instant.
    """
    ids = rows.accepted["series_id"].unique()
    if feed.role != "target" or len(ids) > _MOST_COMPARED or ids.is_empty():
        return None
    # An ingest sets damaged parts aside. Nothing can be compared with them.
    earlier = attempt(partial(history.read_series_ids, store, settings.name, feed.name, now))
    if isinstance(earlier, Failed) or not earlier or not ids.is_in(earlier).not_().all():
        return None
    return (
        f"feed {feed.name!r}: none of its {len(ids):,} series is in the history, which has {len(earlier):,} others, "
        f"such as {earlier[0]!r}. If another pipeline file uses pipeline.name = {settings.name!r} and this store, give "
        "it another name. If the series were renamed, begin a new store"
    )
