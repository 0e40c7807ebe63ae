"""Forecast files: one an issue time, replaced whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

import polars as pl

from storage import layout
from storage.schemas import CONTRACT_VERSION, DataError, forecast_schema, quantile_levels
from storage.store.interface import Store
from storage.store.parquet import parquet_writer

logger = logging.getLogger(__name__)


class ForecastMetadata(NamedTuple):
    """What is known of a forecast once all its rows were made.

    Attributes:
        model_sha256, data_sha256: of the model tried first, if one was, and of the data as the model saw it.
        amend: what makes the rows to publish from those written, where they have to be gone through once more.
    """

    model_sha256: str | None
    data_sha256: str
    amend: Callable[[pl.LazyFrame], Iterable[pl.DataFrame]] | None = None


def publish(
    store: Store,
    pipeline: str,
    timezone: str,
    issue_time: datetime,
    blocks: Iterable[pl.DataFrame],
    levels: list[float],
    made: Callable[[], ForecastMetadata],
    above: tuple[float, ...] = (),
) -> str:
    """Write the forecast file of `issue_time`, and the copy in `latest/` if none newer is there.

    Nothing that changes between two runs on the same data and model goes in, so that the bytes are the same.
    Returns its place.

    Args:
        blocks: its rows by series_id and valid_time, in tables of any length, written as they come.
        made: asked when the last of them came.
        above: thresholds x whose P(value > x) has a column each.
    """
    key = layout.forecast(pipeline, issue_time, timezone)
    schema = forecast_schema(levels, above)
    told: list[ForecastMetadata] = []

    def metadata() -> dict[str, str]:
        return {
            "gatecast.contract_version": CONTRACT_VERSION,
            "gatecast.pipeline": pipeline,
            "gatecast.issue_time": layout.stamp(issue_time),
            "gatecast.quantile_levels": json.dumps(levels),
            "gatecast.model_sha256": told[0].model_sha256 or "",
            "gatecast.data_sha256": told[0].data_sha256,
        }

    with store.atomic_file(key) as file:
        with parquet_writer(file, schema, metadata) as add:
            for block in blocks:
                add(block)
            told.append(made())
        if told[0].amend is not None:
            written = file.rename(f"{file}.first")
            try:
                with parquet_writer(file, schema, metadata) as add:
                    for block in told[0].amend(pl.scan_parquet(written, glob=False, hive_partitioning=False)):
                        add(block)
            finally:
                written.unlink()
    if _latest_issue_time(store, pipeline) <= layout.stamp(issue_time):
        store.copy(key, layout.latest(pipeline))
    return store.uri(key)


def exists(store: Store, pipeline: str, timezone: str, issue_time: datetime) -> bool:
    """Whether the forecast of `issue_time` was published."""
    return store.has(layout.forecast(pipeline, issue_time, timezone))


def list_issue_times(store: Store, pipeline: str) -> list[datetime]:
    """Every issue time that has a forecast file, ascending."""
    return sorted(layout.issue_time(key) for key in store.keys(layout.forecasts(pipeline), "*.parquet"))


def read(store: Store, pipeline: str, timezone: str, issue_time: datetime) -> tuple[pl.DataFrame, str]:
    """The forecast of one issue time, and the sha256 of its file.

    Raises:
        DataError: there is none, it is damaged, or it is another one's.
    """
    key = layout.forecast(pipeline, issue_time, timezone)
    content = store.get(key)
    try:
        rows = pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{store.uri(key)} cannot be read as a forecast file: {error}; publish that night again"
        ) from None
    missing = forecast_schema(quantile_levels(rows.columns)).keys() - set(rows.columns)
    if missing:
        raise DataError(f"{store.uri(key)} is not a forecast file: it has no column {min(missing)!r}")
    if rows["issue_time"].unique().to_list() != [issue_time]:
        raise DataError(f"{store.uri(key)} is not the forecast of the issue time in its name; publish that night again")
    return rows, hashlib.sha256(content).hexdigest()


def read_head(store: Store, pipeline: str, timezone: str, issue_time: datetime, rows: int) -> pl.DataFrame:
    """So many of the first rows of a forecast that is there."""
    return store.scan([layout.forecast(pipeline, issue_time, timezone)]).head(rows).collect()


def _latest_issue_time(store: Store, pipeline: str) -> str:
    """The issue time (stamp) of the copy in `latest/`, '' where there is none that can be read."""
    if not store.has(layout.latest(pipeline)):
        return ""
    try:
        return store.read_metadata(layout.latest(pipeline)).get("gatecast.issue_time", "")
    except pl.exceptions.PolarsError as error:
        # It is a copy, and about to be a whole one again.
        logger.warning("%s is not a forecast file: %s", store.uri(layout.latest(pipeline)), error)
        return ""
