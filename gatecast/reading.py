"""Forecasts and sample paths of one pipeline in a store, with local times and actuals."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from os import PathLike, fspath
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from storage import forecasts, history, sample_paths
from storage.schemas import DataError
from storage.store import Store, open_store

#: An issue time, or a local day: ISO 8601 text, a date or a datetime. Without an offset it is local.
When = str | date | datetime

_TIMES = ("issue_time", "valid_time")
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
_LAST_OF_DAY = timedelta(days=1) - timedelta(microseconds=1)


class _Selection(NamedTuple):
    """Issue times of a pipeline to read, both ends included."""

    store: Store
    facts: forecasts.PipelineFacts
    timezone: str
    start: datetime
    end: datetime


def read(
    store: str | PathLike[str],
    pipeline: str,
    start: When | None = None,
    end: When | None = None,
    *,
    actuals: bool = False,
    timezone: str | None = None,
) -> pl.DataFrame:
    """Return the newest forecast of a pipeline, or those of a range of issue times.

    Args:
        store: Folder, or s3://bucket/prefix.
        pipeline: Name of the pipeline.
        start: First issue time. A date means the begin of the local day. Default: the first forecast if `end` is
            given, else the newest.
        end: Last issue time. A date includes the whole local day. Default: the newest forecast. One issued for more
            than a day ahead is not the newest.
        actuals: Whether to add the column `actual`: the newest known value of each period, null if there is none.
        timezone: Zone of the local times. Default: that of the pipeline.

    Returns:
        The columns of the forecast files after `pipeline`, with `issue_time_local` and `valid_time_local`. Ordered by
        issue_time, series_id and valid_time. A quantile level that only some forecasts have is null in the others.

    Raises:
        DataError: The store has no forecast of the pipeline, or a file cannot be read.
        ValueError: `start` is after `end`.

    Example:
        >>> gatecast.read("store", "load", "2026-11-01", "2026-11-07", actuals=True)  # doctest: +SKIP
    """
    chosen = _select(store, pipeline, start, end, timezone)
    rows = forecasts.read_between(chosen.store, pipeline, chosen.start, chosen.end)
    if actuals:
        known = _read_actuals(chosen, pipeline)
        rows = rows.join(known, on=history.KEY, how="left", maintain_order="left")
    return _with_local_times(rows, pipeline, chosen.timezone)


def read_samples(
    store: str | PathLike[str],
    pipeline: str,
    start: When | None = None,
    end: When | None = None,
    *,
    timezone: str | None = None,
) -> pl.DataFrame:
    """Return the sample paths of the newest forecast, or of a range of issue times.

    Arguments are those of `read`. A pipeline has sample paths if its file sets `samples` in `[forecast]`.

    Returns:
        Columns pipeline, series_id, issue_time, valid_time, step, sample (1 to N), value and the local times. Sample k
        of all series and steps belongs together: sums over steps or series are samples of the sum.

    Raises:
        DataError: The store has no forecast of the pipeline, or no sample paths of these issue times.
        ValueError: `start` is after `end`.
    """
    chosen = _select(store, pipeline, start, end, timezone)
    rows = sample_paths.read_between(chosen.store, pipeline, chosen.start, chosen.end)
    if rows.is_empty():
        raise DataError(
            f"pipeline {pipeline!r} has no sample paths of the issue times from {chosen.start.isoformat()} to "
            f"{chosen.end.isoformat()}. Set samples = 100 in [forecast] of its file: the next forecast writes them."
        )
    return _with_local_times(rows, pipeline, chosen.timezone)


def _select(
    store: str | PathLike[str], pipeline: str, start: When | None, end: When | None, timezone: str | None
) -> _Selection:
    opened = open_store(fspath(store))
    facts = forecasts.newest_facts(opened, pipeline, datetime.now(UTC))
    if facts is None:
        others = ", ".join(forecasts.list_pipelines(opened)) or "none"
        raise DataError(
            f"store {fspath(store)!r} has no forecast of pipeline {pipeline!r}. Pipelines with one: {others}."
        )
    zone = timezone or facts.timezone
    if zone is None:
        raise DataError(
            f"the newest forecast of pipeline {pipeline!r} was published by a version that did not record its time "
            'zone. Name it, such as timezone="Europe/Berlin", or publish a forecast.'
        )
    first = facts.issue_time if end is None else datetime(1, 1, 1, tzinfo=UTC)
    last = facts.issue_time if end is None else _to_instant(end, zone, is_end=True)
    if start is not None:
        first = _to_instant(start, zone)
    if end is not None and first > last:
        raise ValueError(f"start {start} is after end {end}. Swap them.")
    return _Selection(opened, facts, zone, first, last)


def _to_instant(when: When, timezone: str, *, is_end: bool = False) -> datetime:
    """Return the instant that a date or time means. A date is the begin of a local day, or its end if `is_end`."""
    if isinstance(when, str):
        try:
            when = date.fromisoformat(when) if len(when) == 10 else datetime.fromisoformat(when)
        except ValueError:
            raise DataError(f"{when!r} is not a date or time in ISO 8601. Example: '2026-11-01'.") from None
    if not isinstance(when, datetime):
        when = datetime.combine(when, time()) + (_LAST_OF_DAY if is_end else timedelta())
    if when.tzinfo is None:
        when = when.replace(tzinfo=ZoneInfo(timezone))
    return when.astimezone(UTC)


def _with_local_times(rows: pl.DataFrame, pipeline: str, timezone: str) -> pl.DataFrame:
    """Return the rows with the pipeline's name, and each local time behind its time in UTC."""
    local = {name: pl.col(name).dt.convert_time_zone(timezone).alias(f"{name}_local") for name in _TIMES}
    columns = [column for name in rows.columns for column in (pl.col(name), local.get(name)) if column is not None]
    return rows.select(pl.lit(pipeline).alias("pipeline"), *columns)


def _read_actuals(chosen: _Selection, pipeline: str) -> pl.DataFrame:
    """Return series_id, valid_time and actual of the periods from the first issue time on: the newest revisions."""
    if chosen.facts.targets is None:
        raise DataError(
            f"the newest forecast of pipeline {pipeline!r} does not name its target feeds, because an earlier version "
            "published it. Publish a forecast, then read the actuals."
        )
    tables = [
        history.read_revisions(chosen.store, pipeline, feed, [value], _END_OF_TIME, chosen.start).rename(
            {value: "actual"}
        )
        for feed, value in chosen.facts.targets.items()
    ]
    rows = pl.concat(tables).sort("available_at", nulls_last=False, maintain_order=True)
    newest = rows.unique(history.KEY, keep="last", maintain_order=True)
    return newest.select(*history.KEY, pl.col("actual").fill_nan(None))
