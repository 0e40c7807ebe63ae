"""Bitemporal history: a grow-only set of immutable Parquet files, read by union and as-of pick.

A row says: for this series and period (`valid_time`), this value could be known from `available_at` on,
and was taken in at `ingested_at`. Of several rows of one key, the one available last counts; of those, the
one ingested last.
"""

from __future__ import annotations

import secrets
from datetime import datetime

import polars as pl

from storage import layout
from storage.schemas import history_schema
from storage.store import Store

KEY = ["series_id", "valid_time"]


def append(store: Store, pipeline: str, feed: str, rows: pl.DataFrame, ingested_at: datetime) -> pl.DataFrame:
    """Add what `rows` (series_id, valid_time, available_at, values) says that the history does not say yet.

    Returns the rows added: what is stored already with the same availability and values adds nothing.
    """
    values = [c for c in rows.columns if c not in (*KEY, "available_at")]
    known = _scan(store, pipeline, feed, values)
    version = [*KEY, "available_at"]
    latest = (
        known.sort("ingested_at", maintain_order=True)
        .unique(version, keep="last", maintain_order=True)
        .select(*version, *(pl.col(v).alias(f"known:{v}") for v in values), known=pl.lit(True))
    )
    changed = pl.any_horizontal(pl.col(v).ne_missing(pl.col(f"known:{v}")) for v in values)
    new = (
        rows.lazy()
        .join(latest, on=version, how="left", nulls_equal=True)
        .filter(pl.col("known").is_null() | changed)
        .with_columns(ingested_at=pl.lit(ingested_at, dtype=pl.Datetime("us", "UTC")))
        .sort(version)
        .collect()
    )
    new = new.select(history_schema(values).keys())
    if not new.is_empty():
        # The random part lets two ingests of one feed run at the same second without meeting.
        name = f"{layout.stamp(ingested_at)}-{secrets.token_hex(4)}.parquet"
        store.put_parquet(f"{layout.history(pipeline, feed)}/{name}", new)
    return new


def revisions(
    store: Store, pipeline: str, feed: str, values: list[str], as_of: datetime, since: datetime | None = None
) -> pl.DataFrame:
    """Every row available at or before `as_of`, one a key and availability, oldest availability first.

    Columns: series_id, valid_time, available_at, values. This is what training reads, since every training
    window has an as-of of its own.
    """
    rows = _visible(_scan(store, pipeline, feed, values), as_of, since)
    order = [*KEY, "available_at", "ingested_at"]
    return (
        rows.sort(order, nulls_last=False, maintain_order=True)
        .unique([*KEY, "available_at"], keep="last", maintain_order=True)
        .drop("ingested_at")
        .collect()
    )


def as_of(
    store: Store, pipeline: str, feed: str, values: list[str], as_of: datetime, since: datetime | None = None
) -> pl.DataFrame:
    """What was known at `as_of`: one row a key, sorted. Columns: series_id, valid_time, values."""
    rows = revisions(store, pipeline, feed, values, as_of, since)
    return rows.unique(KEY, keep="last", maintain_order=True).drop("available_at")


def series_ids(store: Store, pipeline: str, feed: str, as_of: datetime) -> list[str]:
    """Every series of which a row was available at or before `as_of`, sorted."""
    rows = _visible(_scan(store, pipeline, feed, []), as_of, None)
    return rows.select(pl.col("series_id").unique().sort()).collect()["series_id"].drop_nulls().to_list()


def newest_available(store: Store, pipeline: str, feed: str, value: str, not_after: datetime) -> datetime | None:
    """When the newest non-missing value of a feed became known, looking no further than `not_after`."""
    rows = _visible(_scan(store, pipeline, feed, [value]), not_after, None)
    return rows.filter(pl.col(value).is_not_null()).select(pl.col("available_at").max()).collect().item()


def _visible(rows: pl.LazyFrame, as_of: datetime, since: datetime | None) -> pl.LazyFrame:
    rows = rows.filter(pl.col("available_at").is_null() | (pl.col("available_at") <= as_of))
    return rows if since is None else rows.filter(pl.col("valid_time") >= since)


def _scan(store: Store, pipeline: str, feed: str, values: list[str]) -> pl.LazyFrame:
    schema = history_schema(values)
    files = [store.path(key) for key in store.keys(layout.history(pipeline, feed), "*.parquet")]
    if not files:
        return pl.LazyFrame(schema=schema)
    # A covariate that joined the feed later is missing in the older files, not an error.
    scan = pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore", schema=schema)
    return scan.select(schema.keys())
