"""Forecast files: one an issue time, replaced whole or not at all."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path

import polars as pl

from storage import layout
from storage.schemas import CONTRACT_VERSION, DataError, forecast_schema
from storage.store import Store

logger = logging.getLogger(__name__)


def publish(
    store: Store,
    pipeline: str,
    timezone: str,
    issue_time: datetime,
    rows: pl.DataFrame,
    levels: list[float],
    model_sha256: str | None,
    data_sha256: str,
) -> Path:
    """Write the forecast file of `issue_time`, and the copy in `latest/` if none newer is there.

    Nothing that changes between two runs on the same data and model goes in, so that the bytes are the same.
    """
    metadata = {
        "gatecast.contract_version": CONTRACT_VERSION,
        "gatecast.pipeline": pipeline,
        "gatecast.issue_time": layout.stamp(issue_time),
        "gatecast.quantile_levels": json.dumps(levels),
        "gatecast.model_sha256": model_sha256 or "",
        "gatecast.data_sha256": data_sha256,
    }
    rows = rows.select(pl.col(name).cast(dtype) for name, dtype in forecast_schema(levels).items())
    rows = rows.sort("series_id", "valid_time")
    place = store.put_parquet(layout.forecast(pipeline, issue_time, timezone), rows, metadata)
    if _latest_issue_time(store, pipeline) <= layout.stamp(issue_time):
        store.put(layout.latest(pipeline), place.read_bytes())
    return place


def exists(store: Store, pipeline: str, timezone: str, issue_time: datetime) -> bool:
    """Whether the forecast of `issue_time` was published."""
    return store.has(layout.forecast(pipeline, issue_time, timezone))


def read(store: Store, pipeline: str, timezone: str, issue_time: datetime) -> pl.DataFrame:
    """The rows of the forecast of `issue_time`. Raises DataError where they cannot be read."""
    place = store.path(layout.forecast(pipeline, issue_time, timezone))
    try:
        return pl.read_parquet(place, hive_partitioning=False)
    except (FileNotFoundError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{place} cannot be read as a forecast file: {str(error).splitlines()[0]}") from None


def metadata(path: Path) -> dict[str, str]:
    """The `gatecast.*` entries of a forecast file's key-value metadata."""
    return {k: v for k, v in pl.read_parquet_metadata(path).items() if k.startswith("gatecast.")}


def _latest_issue_time(store: Store, pipeline: str) -> str:
    """The issue time (stamp) of the copy in `latest/`, '' where there is none that can be read."""
    if not store.has(layout.latest(pipeline)):
        return ""
    try:
        return metadata(store.path(layout.latest(pipeline))).get("gatecast.issue_time", "")
    except pl.exceptions.PolarsError as error:
        # It is a copy, and about to be a whole one again.
        logger.warning("%s is not a forecast file: %s", store.path(layout.latest(pipeline)), error)
        return ""
