"""Forecast files: one per issue time, replaced atomically."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl

from storage import layout
from storage.schemas import CONTRACT_VERSION, MODEL, DataError, Missing, forecast_schema, quantile_levels
from storage.schemas.attempts import Failed, attempt
from storage.store import Store
from storage.store.checksum import verify
from storage.store.parquet import READ_ERRORS, parquet_writer

logger = logging.getLogger(__name__)

_NEAR_FUTURE = timedelta(days=1)  # A forecast may be issued ahead. A later issue time is an error or a test.


class ForecastMetadata(NamedTuple):
    """Facts about a forecast, and a last change of its rows, known once all rows were computed.

    Attributes:
        model_sha256: Hash of the model that was tried first, None without a model.
        data_sha256: Hash of the data as the model saw them.
        amend: Callback that returns the rows to publish from those written so far; None to publish them unchanged.
    """

    model_sha256: str | None
    data_sha256: str
    amend: Callable[[pl.LazyFrame], Iterable[pl.DataFrame]] | None = None


class PipelineFacts(NamedTuple):
    """Facts about a pipeline that a reader of its store needs, from the metadata of its newest forecast.

    Attributes:
        issue_time: Issue time of the newest forecast.
        timezone: Timezone of the pipeline, None in files of versions before 0.3.0.
        targets: Value column of each target feed, by the feed's name. None in files of versions before 0.3.0.
    """

    issue_time: datetime
    timezone: str | None
    targets: dict[str, str] | None


def publish(
    store: Store,
    pipeline: str,
    timezone: str,
    issue_time: datetime,
    blocks: Iterable[pl.DataFrame],
    levels: list[float],
    get_metadata: Callable[[], ForecastMetadata],
    thresholds: tuple[float, ...] = (),
    targets: Mapping[str, str] | None = None,
    now: datetime | None = None,
    run_copy: Callable[[Callable[[], None]], None] = lambda copy: copy(),
) -> str:
    """Write the forecast file of `issue_time` and return its uri.

    The file is also copied to `latest/` unless a newer forecast is there, or `issue_time` is more than a day after
    `now`. Two runs on the same data and model write the same bytes. An error of `blocks` or `get_metadata` leaves an
    earlier file as it is.

    Args:
        store: Store of the pipeline.
        pipeline: Name of the pipeline.
        timezone: Timezone of the pipeline.
        issue_time: Issue time of the forecast.
        blocks: Rows sorted by series_id and valid_time, in tables of any length. One at a time is held in memory.
        levels: Quantile levels.
        get_metadata: Returns the metadata. Called after the last block.
        thresholds: Values x with a column for P(value > x).
        targets: Value column of each target feed, by the feed's name. Readers find the actuals with it.
        now: Present instant. None accepts every issue time for `latest/`.
        run_copy: Calls the function that copies the file to `latest/`. It may catch the errors of the copy, because
            the forecast is published by then.
    """
    key = layout.forecast(pipeline, issue_time, timezone)
    schema = forecast_schema(levels, thresholds)
    known: list[ForecastMetadata] = []

    def file_metadata() -> dict[str, str]:
        return {
            "gatecast.contract_version": CONTRACT_VERSION,
            "gatecast.pipeline": pipeline,
            "gatecast.issue_time": layout.stamp(issue_time),
            "gatecast.timezone": timezone,
            "gatecast.targets": json.dumps(dict(targets or {})),
            "gatecast.quantile_levels": json.dumps(levels),
            "gatecast.model_sha256": known[0].model_sha256 or "",
            "gatecast.data_sha256": known[0].data_sha256,
        }

    with store.atomic_file(key) as path:
        with parquet_writer(path, schema, file_metadata) as append:
            for block in blocks:
                append(block)
            known.append(get_metadata())
        amend = known[0].amend
        if amend is not None:
            written = path.rename(f"{path}.first")
            try:
                with parquet_writer(path, schema, file_metadata) as append:
                    for block in amend(pl.scan_parquet(written, glob=False, hive_partitioning=False)):
                        append(block)
            finally:
                written.unlink()
    run_copy(lambda: _update_latest(store, pipeline, key, now))
    return store.uri(key)


def read_complete(
    store: Store, pipeline: str, timezone: str, valid_times: pl.Series, issue_time: datetime,
    schema: Mapping[str, pl.DataType],
) -> pl.DataFrame | None:  # fmt: skip
    """Return the published forecast of `issue_time` if all its rows come from the champion, else None.

    A forecast that was made with other settings does not count.

    Args:
        store: Store of the forecasts.
        pipeline: Name of the pipeline.
        timezone: Time zone of the pipeline.
        valid_times: Valid times that the settings require, ascending.
        issue_time: Issue time of the forecast.
        schema: Columns that the settings require.
    """
    found = attempt(lambda: read(store, pipeline, timezone, issue_time))
    if isinstance(found, Failed):
        return None  # there is none, or it cannot be used
    rows, _ = found
    if list(rows.columns) != list(schema) or not rows["valid_time"].unique().sort().equals(valid_times):
        return None
    return rows if (rows["status"] == MODEL).all() else None


def uri(store: Store, pipeline: str, timezone: str, issue_time: datetime) -> str:
    """Return the uri of a forecast file, whether it exists or not."""
    return store.uri(layout.forecast(pipeline, issue_time, timezone))


def exists(store: Store, pipeline: str, timezone: str, issue_time: datetime) -> bool:
    """Return whether the forecast of `issue_time` was published."""
    return store.has(layout.forecast(pipeline, issue_time, timezone))


def list_issue_times(store: Store, pipeline: str) -> list[datetime]:
    """Return the issue times of all forecast files, ascending."""
    return sorted(_issue_times(store, pipeline).values())


def read(store: Store, pipeline: str, timezone: str, issue_time: datetime) -> tuple[pl.DataFrame, str]:
    """Return the forecast of one issue time and the sha256 of its file.

    Raises:
        DataError: The file is missing, is damaged, or holds another issue time.
    """
    key = layout.forecast(pipeline, issue_time, timezone)
    content = store.get(key)
    try:
        verify(content, store.uri(key))
        rows = pl.read_parquet(io.BytesIO(content))
    except READ_ERRORS as error:
        raise _unreadable(store, key, error) from None
    missing = forecast_schema(quantile_levels(rows.columns)).keys() - set(rows.columns)
    if missing:
        raise DataError(
            f"{store.uri(key)} is not a forecast file: it has no column {min(missing)!r}; publish this issue time again"
        )
    if rows["issue_time"].unique().to_list() != [issue_time]:
        raise DataError(
            f"{store.uri(key)} is not the forecast of the issue time in its name; publish this issue time again"
        )
    return rows, hashlib.sha256(content).hexdigest()


def read_head(store: Store, pipeline: str, timezone: str, issue_time: datetime, rows: int) -> pl.DataFrame:
    """Return the first `rows` rows of a forecast file."""
    return store.scan([layout.forecast(pipeline, issue_time, timezone)]).head(rows).collect()


def list_pipelines(store: Store) -> list[str]:
    """Return the names of all pipelines with a forecast in the store, sorted."""
    return sorted({layout.pipeline_of_forecast(key) for key in store.keys(layout.FORECASTS, "*.parquet")})


def newest_issue_time(store: Store, pipeline: str, now: datetime) -> datetime | None:
    """Return the issue time of the newest forecast, as `newest_facts` chooses it; None if there is none."""
    issue_times = list_issue_times(store, pipeline)
    return max(
        (time for time in issue_times if time <= now + _NEAR_FUTURE), default=issue_times[-1] if issue_times else None
    )


def newest_facts(store: Store, pipeline: str, now: datetime) -> PipelineFacts | None:
    """Return facts about a pipeline from its newest forecast file, None if it has no forecast.

    As for `latest/`, an issue time more than a day after `now` is not the newest, unless there is no other.

    Raises:
        DataError: The file is damaged.
    """
    newest = newest_issue_time(store, pipeline, now)
    if newest is None:
        return None
    (key,) = _keys_between(store, pipeline, newest, newest)
    try:
        metadata = store.read_metadata(key)
    except READ_ERRORS as error:
        raise _unreadable(store, key, error) from None
    targets = json.loads(metadata.get("gatecast.targets", "{}")) or None
    return PipelineFacts(newest, metadata.get("gatecast.timezone"), targets)


def read_between(store: Store, pipeline: str, start: datetime, end: datetime) -> pl.DataFrame:
    """Return the forecasts of all issue times from `start` to `end`, both included, ordered by issue time.

    A quantile level that only some of the forecasts have is null in the others.

    Raises:
        DataError: A file is damaged.
    """
    keys = _keys_between(store, pipeline, start, end)
    tables = []
    for key in keys:
        try:
            tables.append(store.scan([key]).collect())
        except READ_ERRORS as error:
            raise _unreadable(store, key, error) from None
    return pl.concat(tables, how="diagonal") if tables else pl.DataFrame(schema=forecast_schema([]))


def read_medians(
    store: Store, pipeline: str, timezone: str, issue_times: list[datetime], within: tuple[str, str]
) -> pl.DataFrame:
    """Return series_id, issue_time, valid_time, step and q50 of several forecasts.

    Args:
        store: Store of the pipeline.
        pipeline: Name of the pipeline.
        timezone: Timezone of the pipeline.
        issue_times: Issue times of published forecasts.
        within: First and last series_id to read.
    """
    columns = ["series_id", "issue_time", "valid_time", "step", "q50"]
    keys = [layout.forecast(pipeline, issue_time, timezone) for issue_time in issue_times]
    schema = forecast_schema([0.5])
    rows = store.scan(keys, schema=schema, missing_columns="insert", extra_columns="ignore").select(columns)
    first, last = map(pl.lit, within)
    return rows.filter(pl.col("series_id").is_between(first, last)).collect()


def _keys_between(store: Store, pipeline: str, start: datetime, end: datetime) -> list[str]:
    times = _issue_times(store, pipeline)
    return sorted((key for key, time in times.items() if start <= time <= end), key=times.__getitem__)


def _issue_times(store: Store, pipeline: str) -> dict[str, datetime]:
    """Return the issue time of each forecast file by its key. Files in other folders are no forecasts."""
    keys = store.keys(layout.forecasts(pipeline), "*.parquet")
    return layout.issue_times(key for key in keys if layout.is_forecast(key))


def _unreadable(store: Store, key: str, error: BaseException) -> DataError:
    return DataError(f"{store.uri(key)} cannot be read as a forecast file: {error}; publish this issue time again")


def _update_latest(store: Store, pipeline: str, key: str, now: datetime | None) -> None:
    """Copy the forecast at `key` to `latest/` unless a newer one is there. Runs at the same time cannot undo this."""
    latest = layout.latest(pipeline)
    limit = layout.stamp(datetime.max.replace(tzinfo=UTC) if now is None else now + _NEAR_FUTURE)
    if layout.stamp(layout.issue_time(key)) > limit:
        logger.warning("%s keeps its forecast, because %s is of the future.", latest, store.uri(key))
        return
    stamp = layout.stamp(layout.issue_time(key))

    def choose() -> str | None:
        present = _latest_stamp(store, pipeline)
        if "" < present <= limit:
            return key if present <= stamp else None
        # What is there does not say which forecast was the newest.
        times = (time for time in list_issue_times(store, pipeline) if layout.stamp(time) <= limit)
        newest = max(times, default=layout.issue_time(key))
        return _keys_between(store, pipeline, newest, newest)[0]

    store.copy_chosen(latest, choose)


def _latest_stamp(store: Store, pipeline: str) -> str:
    """Return the issue time of the copy in `latest/` as a stamp, or '' if there is no readable copy."""
    key = layout.latest(pipeline)
    try:
        return store.read_metadata(key).get("gatecast.issue_time", "")
    except Missing:
        return ""
    except READ_ERRORS as error:
        # The caller replaces the damaged copy.
        logger.warning("%s is damaged and is replaced: %s.", store.uri(key), error)
        return ""
