"""Score files: one per issue time, with the scores of the forecast steps that have an actual value."""

from __future__ import annotations

import io
from collections.abc import Collection
from datetime import datetime

import polars as pl

from storage import layout
from storage.schemas import CONTRACT_VERSION, DataError, Missing, score_schema
from storage.store import Store
from storage.store.checksum import verify
from storage.store.parquet import READ_ERRORS


class DamagedScores(DataError):
    """A score file with another content than was written. Its forecast and the actuals give it again."""


_FORECAST = "gatecast.forecast_sha256"


def write(store: Store, pipeline: str, issue_time: datetime, rows: pl.DataFrame, forecast_sha256: str) -> str:
    """Replace the score file of `issue_time` and return its uri. The same arguments give the same bytes.

    Args:
        store: Store of the pipeline.
        pipeline: Name of the pipeline.
        issue_time: Issue time of the forecast.
        rows: Scores, see `score_schema`.
        forecast_sha256: Hash of the forecast file that was scored.
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
    """Return the scores of one issue time and the hash of the forecast file that was scored, or None.

    Raises:
        DamagedScores: The file is damaged.
    """
    key = layout.score(pipeline, issue_time)
    try:
        stored = store.get(key)
    except Missing:
        return None
    try:
        verify(stored, store.uri(key))
        content = io.BytesIO(stored)
        forecast_sha256 = pl.read_parquet_metadata(content).get(_FORECAST, "")
        content.seek(0)
        return pl.read_parquet(content, columns=list(score_schema())), forecast_sha256
    except READ_ERRORS as error:
        raise DamagedScores(
            f"{store.uri(key)} cannot be read as a score file: {error}. The next run writes it again."
        ) from None


def read(
    store: Store, pipeline: str, since: datetime | None = None, without: Collection[datetime] = ()
) -> pl.LazyFrame:
    """Return the scores of all forecasts, see `score_schema`, ordered by issue time.

    Args:
        store: Store of the pipeline.
        pipeline: Name of the pipeline.
        since: Earliest issue time to read. None reads all.
        without: Issue times to leave out.
    """
    times = layout.issue_times(store.keys(layout.scores(pipeline), "*.parquet"))
    keys = [key for key, time in times.items() if (since is None or time >= since) and time not in without]
    if not keys:
        return pl.LazyFrame(schema=score_schema())
    return store.scan(keys, schema=score_schema())
