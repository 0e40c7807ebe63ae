"""What the shards of one forecast leave for each other: an order each, then a part each, gone once the file is out.

Every try of a forecast has a run of its own, so that a worker which was thought lost cannot write into a later try.
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

_SAID = "gatecast.said"
_FORGOTTEN = timedelta(days=1)  # what a run that crashed has left is removed after that


def start_run(
    store: Store,
    pipeline: str,
    issue_time: datetime,
    begun: datetime,
    shards: Sequence[Sequence[str]],
    order: ShardPlan,
) -> ShardedRun:
    """Write the orders of a new run: to each shard its series (sorted), and to all of them `order` (JSON-ready)."""
    _sweep(store, pipeline, begun - _FORGOTTEN)
    run = ShardedRun(store, pipeline, layout.run_name(issue_time, begun, secrets.token_hex(4), len(shards)))
    for shard, series in enumerate(shards):
        named = pl.DataFrame({"series_id": list(series)}, schema={"series_id": pl.String})
        store.put_parquet(run.key(shard, "order"), named, {_SAID: json.dumps(order)})
    return run


def _sweep(store: Store, pipeline: str, before: datetime) -> None:
    for key in store.keys(layout.staging(pipeline), "*.parquet"):
        if layout.run_start(key) < before:
            store.remove(key)


class ShardedRun:
    """One try of one forecast. `name` says all: it is what a worker is given."""

    def __init__(self, store: Store, pipeline: str, name: str) -> None:
        self.name = name
        self._store = store
        self._pipeline = pipeline

    @property
    def shards(self) -> int:
        """How many there are."""
        return layout.shard_count(self.name)

    def key(self, shard: int, what: str) -> str:
        """Where the `what` of a shard is: its order, the part that it made, or the one that stands in for it."""
        return layout.shard_file(self._pipeline, self.name, shard, what)

    def read_assignment(self, shard: int) -> tuple[tuple[str, ...], ShardPlan]:
        """The series of a shard, and what all shards were told.

        Raises:
            DataError: the run is over, or never was.
        """
        content = self._content(shard, "order")
        return tuple(pl.read_parquet(io.BytesIO(content))["series_id"]), _said(content)

    def write(self, shard: int, what: str, series: pl.DataFrame, numbers: np.ndarray, said: ShardModel | None) -> None:
        """Write what a shard made: S rows of `shard_result_schema`, (S, H, C), and a JSON-ready note."""
        steps = pl.Array(pl.Float64, numbers.shape[1])
        columns = {str(column): pl.Series(numbers[:, :, column], dtype=steps) for column in range(numbers.shape[2])}
        self._store.put_parquet(self.key(shard, what), series.with_columns(**columns), {_SAID: json.dumps(said)})

    def has(self, shard: int, what: str) -> bool:
        """Whether it is there."""
        return self._store.has(self.key(shard, what))

    def read_result(self, shard: int, what: str) -> tuple[pl.DataFrame, np.ndarray, ShardModel | None]:
        """What `keep` was given. Raises DataError where it is not there, or not of this version of Gatecast."""
        content = self._content(shard, what)
        rows = pl.read_parquet(io.BytesIO(content))
        said = list(shard_result_schema())
        columns = len(rows.columns) - len(said)
        if rows.columns != [*said, *map(str, range(columns))]:
            raise DataError(f"{self.key(shard, what)} was made by another version of Gatecast; run the night again")
        numbers = np.stack([rows[str(column)].to_numpy() for column in range(columns)])
        return rows.select(said), numbers.transpose(1, 2, 0), _said(content)

    def remove(self) -> None:
        """Take away all that the run has left."""
        for key in self._store.keys(layout.staging(self._pipeline), f"{self.name}.*.parquet"):
            self._store.remove(key)

    def _content(self, shard: int, what: str) -> bytes:
        return self._store.get(self.key(shard, what))


def _said(content: bytes) -> Any:
    return json.loads(pl.read_parquet_metadata(io.BytesIO(content))[_SAID])
