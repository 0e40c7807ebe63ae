"""Refused rows, kept as they came, with the reason."""

from __future__ import annotations

import hashlib
from datetime import datetime

import polars as pl

from storage import layout
from storage.store import Store


def append(store: Store, pipeline: str, feed: str, rows: pl.DataFrame, ingested_at: datetime) -> int:
    """Keep `rows` (the feed's columns and `reason`); those kept by an earlier ingest are not repeated.

    Returns how many were new.
    """
    folder = layout.quarantine(pipeline, feed)
    new = rows
    for known in _kept(store, folder):
        if known.schema == new.schema:
            new = new.join(known, on=new.columns, how="anti", nulls_equal=True)
    if not new.is_empty():
        digest = hashlib.sha256(new.write_ipc(None, compat_level=pl.CompatLevel.oldest()).getvalue())
        store.put_parquet(f"{folder}/{layout.stamp(ingested_at)}-{digest.hexdigest()[:8]}.parquet", new)
    return len(new)


def read(store: Store, pipeline: str, feed: str) -> pl.DataFrame:
    """All refused rows of a feed; empty where none was ever refused."""
    kept = _kept(store, layout.quarantine(pipeline, feed))
    if not kept:
        return pl.DataFrame(schema={"reason": pl.String})
    return pl.concat(kept, how="diagonal_relaxed")


def _kept(store: Store, folder: str) -> list[pl.DataFrame]:
    """The files of a feed, each with the columns that the feed had then."""
    return [pl.read_parquet(source, glob=False) for source in store.polars_sources(store.keys(folder, "*.parquet"))]
