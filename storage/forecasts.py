"""Forecast files: one an issue time, replaced whole or not at all."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import polars as pl

from storage import layout
from storage.schemas import CONTRACT_VERSION, DataError, forecast_schema
from storage.store import Store


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
    newest = _latest_issue_time(store, pipeline)
    if newest is None or newest <= layout.stamp(issue_time):
        store.put(layout.latest(pipeline), place.read_bytes())
    return place


def issue_times(store: Store, pipeline: str) -> list[datetime]:
    """Every issue time that has a forecast file, ascending."""
    keys = store.keys(layout.forecasts(pipeline), "*.parquet")
    return sorted(layout.instant(store.path(key).stem) for key in keys)


def read(store: Store, pipeline: str, timezone: str, issue_time: datetime) -> pl.DataFrame:
    """The forecast file of `issue_time`. Raises DataError where there is none, or another file."""
    place = store.path(layout.forecast(pipeline, issue_time, timezone))
    try:
        return pl.read_parquet(place, hive_partitioning=False)
    except (FileNotFoundError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{place} cannot be read as a forecast file: {error}; publish that night again") from None


def metadata(path: Path) -> dict[str, str]:
    """The `gatecast.*` entries of a forecast file's key-value metadata."""
    return {k: v for k, v in pl.read_parquet_metadata(path).items() if k.startswith("gatecast.")}


def _latest_issue_time(store: Store, pipeline: str) -> str | None:
    if not store.has(layout.latest(pipeline)):
        return None
    try:
        return metadata(store.path(layout.latest(pipeline))).get("gatecast.issue_time")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{store.path(layout.latest(pipeline))} is not a forecast file: {error}") from None
