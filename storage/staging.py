"""Files that the shards of one forecast exchange: an assignment each, then a result each.

They are removed once the forecast is published. Every attempt at a forecast is a run of its own, so that a worker of
an abandoned attempt cannot write into a later one.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from storage import layout
from storage.schemas import DataError, shard_result_schema
from storage.schemas.records import ShardModel, ShardPlan
from storage.store import Store
from storage.store.checksum import verify

_DETAILS = "gatecast.details"  # Parquet metadata: a JSON value beside the table
_ASSIGNMENT = "assignment"
_MAX_AGE = timedelta(days=1)  # files of a run that crashed are removed after this


def start_run(
    store: Store, pipeline: str, issue_time: datetime, start: datetime, shards: Sequence[Sequence[str]], plan: ShardPlan
) -> ShardedRun:
    """Write the assignments of a new run, and remove the files of old runs that crashed.

    Args:
        store: Store of the pipeline.
        pipeline: Name of the pipeline.
        issue_time: Issue time of the forecast.
        start: Start of this attempt.
        shards: Sorted series of each shard.
        plan: Plan that all shards share.
    """
    _remove_old_runs(store, pipeline, start - _MAX_AGE)
    run = ShardedRun(store, pipeline, layout.run_name(issue_time, start, secrets.token_hex(4), len(shards)))
    for shard, series in enumerate(shards):
        table = pl.DataFrame({"series_id": list(series)}, schema={"series_id": pl.String})
        store.put_parquet(run.key(shard, _ASSIGNMENT), table, {_DETAILS: json.dumps(plan)})
    return run


def _remove_old_runs(store: Store, pipeline: str, before: datetime) -> None:
    for key in store.keys(layout.staging(pipeline), "*.parquet"):
        start = layout.run_start(key)
        if start is not None and start < before:
            store.remove(key)


class ShardedRun:
    """The files of one attempt at one forecast. A worker needs only the run's name to open them."""

    def __init__(self, store: Store, pipeline: str, name: str) -> None:
        self.name = name
        self._store = store
        self._pipeline = pipeline

    @property
    def shards(self) -> int:
        """Number of shards."""
        return layout.shard_count(self.name)

    def key(self, shard: int, kind: str) -> str:
        """Return the key of a shard's file: its assignment, or a result of any kind."""
        return layout.shard_file(self._pipeline, self.name, shard, kind)

    def read_assignment(self, shard: int) -> tuple[tuple[str, ...], ShardPlan]:
        """Return the sorted series of a shard and the plan that all shards share.

        Raises:
            Missing: The run is over or never existed.
        """
        content = self._get(shard, _ASSIGNMENT)
        plan: ShardPlan = _read_details(content)
        return tuple(pl.read_parquet(io.BytesIO(content))["series_id"]), plan

    def write(self, shard: int, kind: str, series: pl.DataFrame, values: np.ndarray, model: ShardModel | None) -> None:
        """Write the result of a shard.

        Args:
            shard: Number of the shard.
            kind: Kind of the result. A shard can have one result of each kind.
            series: S rows of `shard_result_schema`.
            values: Quantiles and exceedance probabilities, shape (S, H, C).
            model: Model that the shard tried first, if any.
        """
        steps = pl.Array(pl.Float64, values.shape[1])
        columns = {str(column): pl.Series(values[:, :, column], dtype=steps) for column in range(values.shape[2])}
        self._store.put_parquet(self.key(shard, kind), series.with_columns(**columns), {_DETAILS: json.dumps(model)})

    def has(self, shard: int, kind: str) -> bool:
        """Return whether the shard has a result of this kind."""
        return self._store.has(self.key(shard, kind))

    def read_result(self, shard: int, kind: str) -> tuple[pl.DataFrame, np.ndarray, ShardModel | None]:
        """Return a shard's series, values and model as `write` received them.

        Raises:
            Missing: The shard has no result of this kind.
            DataError: The result is damaged, or another version of Gatecast wrote it.
        """
        content = self._get(shard, kind)
        rows = pl.read_parquet(io.BytesIO(content))
        schema = list(shard_result_schema())
        columns = len(rows.columns) - len(schema)
        if rows.columns != [*schema, *map(str, range(columns))]:
            raise DataError(
                f"The shard result {self.key(shard, kind)} was written by another version of Gatecast. "
                "Install one version on all workers and run the forecast again."
            )
        values = np.stack([rows[str(column)].to_numpy() for column in range(columns)])
        model: ShardModel | None = _read_details(content)
        return rows.select(schema), values.transpose(1, 2, 0), model

    def _get(self, shard: int, kind: str) -> bytes:
        key = self.key(shard, kind)
        content = self._store.get(key)
        verify(content, self._store.uri(key))
        return content

    def remove(self) -> None:
        """Delete all files of the run."""
        for key in self._store.keys(layout.staging(self._pipeline), f"{self.name}.*.parquet"):
            self._store.remove(key)


def _read_details(content: bytes) -> Any:
    return json.loads(pl.read_parquet_metadata(io.BytesIO(content))[_DETAILS])
