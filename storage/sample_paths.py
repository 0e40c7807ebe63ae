"""Files of sample paths: possible courses of all series of a forecast, one file per issue time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

import polars as pl

from storage import layout
from storage.schemas import CONTRACT_VERSION, DataError, sample_schema
from storage.store import Store
from storage.store.parquet import READ_ERRORS, parquet_writer


def write(
    store: Store, pipeline: str, timezone: str, issue_time: datetime, blocks: Iterable[pl.DataFrame],
    dependence: Mapping[str, int],
) -> str:  # fmt: skip
    """Write the sample paths of one forecast atomically, and return their uri.

    Args:
        store: Store of the pipeline.
        pipeline: Name of the pipeline.
        timezone: Timezone of the pipeline.
        issue_time: Issue time of the forecast.
        blocks: Rows of `sample_schema`, sorted by series_id, sample and valid_time.
        dependence: Number of series by the data whose order their paths follow. Read after the last block.
    """
    key = layout.sample_paths(pipeline, issue_time, timezone)

    def metadata() -> dict[str, str]:
        return {
            "gatecast.contract_version": CONTRACT_VERSION,
            "gatecast.pipeline": pipeline,
            "gatecast.issue_time": layout.stamp(issue_time),
            "gatecast.timezone": timezone,
            "gatecast.dependence": json.dumps(dict(dependence)),
        }

    with store.atomic_file(key) as path, parquet_writer(path, sample_schema(), metadata) as append:
        for block in blocks:
            append(block)
    return store.uri(key)


def remove(store: Store, pipeline: str, timezone: str, issue_time: datetime) -> None:
    """Remove the sample paths of one issue time, if there are any."""
    store.remove(layout.sample_paths(pipeline, issue_time, timezone))


def read_between(store: Store, pipeline: str, start: datetime, end: datetime) -> pl.DataFrame:
    """Return the sample paths of all issue times from `start` to `end`, both included, ordered by issue time.

    Raises:
        DataError: A file is damaged.
    """
    times = layout.issue_times(store.keys(layout.all_sample_paths(pipeline), "*.parquet"))
    keys = sorted((key for key, time in times.items() if start <= time <= end), key=times.__getitem__)
    if not keys:
        return pl.DataFrame(schema=sample_schema())
    try:
        return store.scan(keys, schema=sample_schema()).collect()
    except READ_ERRORS as error:
        raise DataError(
            f"the sample paths {store.uri(keys[0])} to {store.uri(keys[-1])} cannot be read: {error}. Publish these "
            "issue times again."
        ) from None
