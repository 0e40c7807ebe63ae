"""Quarantine of refused rows, stored unchanged with the reason, except that secrets are hidden."""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime

import polars as pl

from storage import layout
from storage.redaction import redact_table
from storage.schemas import DataError
from storage.store import Store
from storage.store.parquet import READ_ERRORS

logger = logging.getLogger(__name__)

_ERRORS: tuple[type[BaseException], ...] = (*READ_ERRORS, DataError)


def append(store: Store, pipeline: str, feed: str, rows: pl.DataFrame, ingested_at: datetime) -> int:
    """Store refused rows that are not in the quarantine yet, and return their number.

    Args:
        store: Store of the pipeline.
        pipeline: Name of the pipeline.
        feed: Name of the feed.
        rows: Refused rows with the feed's columns and `reason`.
        ingested_at: Time of the ingest.
    """
    folder = layout.quarantine(pipeline, feed)
    new = redact_table(rows)
    for stored in _read_files(store, folder):
        if stored.schema == new.schema:
            new = new.join(stored, on=new.columns, how="anti", nulls_equal=True)
    if not new.is_empty():
        digest = hashlib.sha256(new.write_ipc(None, compat_level=pl.CompatLevel.oldest()).getvalue())
        store.put_parquet(f"{folder}/{layout.stamp(ingested_at)}-{digest.hexdigest()[:8]}.parquet", new)
    return len(new)


def read(store: Store, pipeline: str, feed: str) -> pl.DataFrame:
    """Return all refused rows of a feed. The table is empty if none was refused."""
    tables = _read_files(store, layout.quarantine(pipeline, feed))
    if not tables:
        return pl.DataFrame(schema={"reason": pl.String})
    return pl.concat(tables, how="diagonal_relaxed")


def _read_files(store: Store, folder: str) -> list[pl.DataFrame]:
    """Return one table per file. Their columns differ if the feed's columns have changed.

    A file that cannot be read is left out, because the refused rows are for the user only.
    """
    tables = []
    for key in store.keys(folder, "*.parquet"):
        try:
            (source,) = store.polars_sources([key])
            tables.append(pl.read_parquet(source, glob=False))
        except _ERRORS as error:
            logger.warning("Refused rows are left out: %s: %s.", store.uri(key), error)
    return tables
