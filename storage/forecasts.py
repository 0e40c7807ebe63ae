"""Forecast files: one an issue time, replaced whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterable
from datetime import datetime

import polars as pl

from storage import layout
from storage.schemas import CONTRACT_VERSION, DataError, forecast_schema, quantile_levels
from storage.store import Store, parquet_of

logger = logging.getLogger(__name__)


def publish(
    store: Store,
    pipeline: str,
    timezone: str,
    issue_time: datetime,
    blocks: Iterable[pl.DataFrame],
    levels: list[float],
    model_sha256: str | None,
    data_sha256: str,
    above: tuple[float, ...] = (),
) -> str:
    """Write the forecast file of `issue_time`, and the copy in `latest/` if none newer is there.

    Nothing that changes between two runs on the same data and model goes in, so that the bytes are the same.
    Returns its place.

    Args:
        blocks: its rows by series_id and valid_time, in tables of any length, of which one at a time is held.
        above: thresholds x whose P(value > x) has a column each.
    """
    metadata = {
        "gatecast.contract_version": CONTRACT_VERSION,
        "gatecast.pipeline": pipeline,
        "gatecast.issue_time": layout.stamp(issue_time),
        "gatecast.quantile_levels": json.dumps(levels),
        "gatecast.model_sha256": model_sha256 or "",
        "gatecast.data_sha256": data_sha256,
    }
    content = parquet_of(blocks, forecast_schema(levels, above), metadata)
    place = store.put(layout.forecast(pipeline, issue_time, timezone), content)
    if _latest_issue_time(store, pipeline) <= layout.stamp(issue_time):
        store.put(layout.latest(pipeline), content)
    return place


def exists(store: Store, pipeline: str, timezone: str, issue_time: datetime) -> bool:
    """Whether the forecast of `issue_time` was published."""
    return store.has(layout.forecast(pipeline, issue_time, timezone))


def issue_times(store: Store, pipeline: str) -> list[datetime]:
    """Every issue time that has a forecast file, ascending."""
    return sorted(layout.issue_time(key) for key in store.keys(layout.forecasts(pipeline), "*.parquet"))


def fetch(store: Store, pipeline: str, timezone: str, issue_time: datetime) -> tuple[pl.DataFrame, str]:
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
            f"{store.place(key)} cannot be read as a forecast file: {error}; publish that night again"
        ) from None
    missing = forecast_schema(quantile_levels(rows.columns)).keys() - set(rows.columns)
    if missing:
        raise DataError(f"{store.place(key)} is not a forecast file: it has no column {min(missing)!r}")
    if rows["issue_time"].unique().to_list() != [issue_time]:
        raise DataError(
            f"{store.place(key)} is not the forecast of the issue time in its name; publish that night again"
        )
    return rows, hashlib.sha256(content).hexdigest()


def _latest_issue_time(store: Store, pipeline: str) -> str:
    """The issue time (stamp) of the copy in `latest/`, '' where there is none that can be read."""
    if not store.has(layout.latest(pipeline)):
        return ""
    try:
        return store.metadata(layout.latest(pipeline)).get("gatecast.issue_time", "")
    except pl.exceptions.PolarsError as error:
        # It is a copy, and about to be a whole one again.
        logger.warning("%s is not a forecast file: %s", store.place(layout.latest(pipeline)), error)
        return ""
