"""Score files: the forecast of one issue time, as far as it came true; one file an issue time, replaced whole."""

from __future__ import annotations

import io
from collections.abc import Collection
from datetime import datetime

import polars as pl

from storage import layout
from storage.schemas import CONTRACT_VERSION, DataError, Missing, score_schema
from storage.store import Store

_FORECAST = "gatecast.forecast_sha256"


def write(store: Store, pipeline: str, issue_time: datetime, rows: pl.DataFrame, forecast_sha256: str) -> str:
    """Write the score file of `issue_time`; `forecast_sha256` is of the forecast file that was scored.

    The same rows of the same forecast give the same bytes. Returns its place.
    """
    metadata = {
        "gatecast.contract_version": CONTRACT_VERSION,
        "gatecast.pipeline": pipeline,
        "gatecast.issue_time": layout.stamp(issue_time),
        _FORECAST: forecast_sha256,
    }
    rows = rows.select(pl.col(name).cast(dtype) for name, dtype in score_schema().items())
    return store.put_parquet(layout.score(pipeline, issue_time), rows.sort("series_id", "valid_time"), metadata)


def find(store: Store, pipeline: str, issue_time: datetime) -> tuple[pl.DataFrame, str] | None:
    """The scores of one issue time and the sha256 of the forecast file that they are of; None if there are none.

    Raises:
        DataError: the file is damaged.
    """
    key = layout.score(pipeline, issue_time)
    try:
        content = io.BytesIO(store.get(key))
    except Missing:
        return None
    try:
        of = pl.read_parquet_metadata(content).get(_FORECAST, "")
        content.seek(0)
        return pl.read_parquet(content, columns=list(score_schema())), of
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{store.uri(key)} cannot be read as a score file: {error}; remove it, and the next run writes it anew"
        ) from None


def read(
    store: Store, pipeline: str, since: datetime | None = None, without: Collection[datetime] = ()
) -> pl.LazyFrame:
    """All scores (`score_schema`) of forecasts issued at or after `since`, issue time by issue time; lazily.

    Args:
        without: issue times to pass over.
    """
    files = [
        key for key in store.keys(layout.scores(pipeline), "*.parquet")
        if (since is None or layout.issue_time(key) >= since) and layout.issue_time(key) not in without
    ]  # fmt: skip
    if not files:
        return pl.LazyFrame(schema=score_schema())
    return store.scan(files, schema=score_schema())
