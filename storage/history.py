"""Bitemporal history: a grow-only set of immutable Parquet files, read by union and as-of pick.

A row says: for this series and period (`valid_time`), this value could be known from `available_at` on,
and was taken in at `ingested_at`. Of several rows of one key, the one available last counts; of those, the
one ingested last.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime

import numpy as np
import polars as pl

from storage import layout
from storage.schemas import DataError, Missing, history_schema, is_sorted
from storage.store import Store

logger = logging.getLogger(__name__)

KEY = ["series_id", "valid_time"]
_VERSION = [*KEY, "available_at"]
_MANY = 64  # parts of a feed before they are made one
_TRIES = 30
_AT_ONCE = 240_000  # rows gone through together
_DAMAGED = ".damaged"
# A damaged page makes Polars panic, which Python does not count among the Exceptions.
_FAULTS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, Missing)


class DamagedHistory(DataError):
    """A part of the history cannot be read; `set_aside` lets the history go on without it."""


def append(store: Store, pipeline: str, feed: str, rows: pl.DataFrame, ingested_at: datetime) -> pl.DataFrame:
    """Add what `rows` (series_id, valid_time, available_at, values) says that the history does not say yet.

    Returns the rows added: what is stored already with the same availability and values adds nothing.
    """
    values = [c for c in rows.columns if c not in (*KEY, "available_at")]
    new = _unknown(store, pipeline, feed, rows, values) if _files(store, pipeline, feed) else rows
    # Sources are in order as a rule, and a sort costs more than all else here.
    new = new if is_sorted(new) else new.sort(_VERSION)
    new = new.with_columns(ingested_at=pl.lit(ingested_at, dtype=pl.Datetime("us", "UTC")))
    new = new.select(history_schema(values).keys())
    if not new.is_empty():
        _put(store, pipeline, feed, new, ingested_at)
        if len(_files(store, pipeline, feed)) > _MANY:
            compact(store, pipeline, feed)
    return new


def compact(store: Store, pipeline: str, feed: str) -> int:
    """Make one file of a feed's parts: their union is written first, and only then are they removed.

    What a crash leaves in between is a union and its parts, which read as the union does. A part that another
    process adds meanwhile is not touched; one that reads meanwhile looks again.

    Returns how many parts were removed.
    """
    parts = _files(store, pipeline, feed)
    if len(parts) < 2:
        return 0
    # Also columns that the feed no longer names: nothing is lost.
    named = dict.fromkeys(name for part in parts for name in store.scan([part]).collect_schema())
    values = [name for name in named if name not in (*_VERSION, "ingested_at")]
    union = _newest(_union(store, parts, values).collect())
    _put(store, pipeline, feed, union, union.select(pl.col("ingested_at").max()).item())
    for part in parts:
        store.remove(part)
    return len(parts)


def _put(store: Store, pipeline: str, feed: str, rows: pl.DataFrame, ingested_at: datetime) -> None:
    # The random part lets two ingests of one feed run at the same second without meeting.
    name = f"{layout.stamp(ingested_at)}-{secrets.token_hex(4)}.parquet"
    store.put_parquet(f"{layout.history(pipeline, feed)}/{name}", rows)


def _unknown(store: Store, pipeline: str, feed: str, rows: pl.DataFrame, values: list[str]) -> pl.DataFrame:
    """The `rows` whose key and availability the history does not have, or has with other values."""
    changed = pl.any_horizontal(pl.col(v).ne_missing(pl.col(f"known:{v}")) for v in values)

    known = _newest(_read(store, pipeline, feed, values, lambda rows: rows))
    latest = known.select(*_VERSION, *(pl.col(v).alias(f"known:{v}") for v in values), known=pl.lit(True))
    joined = rows.join(latest, on=_VERSION, how="left", nulls_equal=True, maintain_order="left")
    return joined.filter(pl.col("known").is_null() | changed).select(rows.columns)


def read_revisions(
    store: Store, pipeline: str, feed: str, values: list[str], as_of: datetime, since: datetime | None = None,
    within: tuple[str, str] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Every row available at or before `as_of`, one a key and availability, oldest availability first.

    Columns: series_id, valid_time, available_at, values. This is what training reads, since every training
    window has an as-of of its own. `since` and `within` as in `as_of`.
    """
    visible = _read(store, pipeline, feed, values, lambda rows: _visible(rows, as_of, since, within))
    return _newest(visible).drop("ingested_at")


def read_as_of(
    store: Store, pipeline: str, feed: str, values: list[str], as_of: datetime, since: datetime | None = None,
    within: tuple[str, str] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """What was known at `as_of`: one row a key, series by series. Columns: series_id, valid_time, values.

    Args:
        since: earliest valid_time read.
        within: first and last series_id read, beside what all series share.
    """
    columns = [*KEY, *values]
    if len(_files(store, pipeline, feed)) < 2:
        # One part is in order as a rule: then what tells revisions apart need not be read.
        rows = _read(store, pipeline, feed, values, lambda rows: _visible(rows, as_of, since, within).select(columns))
        if is_sorted(rows):
            return rows
    rows = _read(store, pipeline, feed, values, lambda rows: _visible(rows, as_of, since, within))
    return _last(_ordered(rows), KEY).select(columns)


def read_series_ids(store: Store, pipeline: str, feed: str, as_of: datetime) -> list[str]:
    """Every series of which a row was available at or before `as_of`, sorted."""

    def runs(rows: pl.LazyFrame) -> pl.DataFrame:
        # Rows come series by series: of each run one id, and of all ids a few at a time.
        batches = rows.select("series_id").collect_batches(chunk_size=_AT_ONCE, maintain_order=True)
        found = [batch["series_id"].rle().struct.field("value") for batch in batches]
        return pl.concat([pl.Series("series_id", [], pl.String), *(run.alias("series_id") for run in found)]).to_frame()

    found = _read(store, pipeline, feed, [], lambda rows: _visible(rows, as_of), runs)
    return found["series_id"].drop_nulls().unique().sort().to_list()


def newest_available_at(store: Store, pipeline: str, feed: str, value: str, not_after: datetime) -> datetime | None:
    """When the newest non-missing value of a feed became known, looking no further than `not_after`."""
    newest = pl.col("available_at").filter(pl.col(value).is_not_null()).max()

    def streamed(query: pl.LazyFrame) -> pl.DataFrame:
        # What is only counted is not held as a whole.
        return query.collect(engine="streaming")

    return _read(store, pipeline, feed, [value], lambda rows: _visible(rows, not_after).select(newest), streamed).item()


def newest_valid_time(store: Store, pipeline: str, feed: str) -> datetime | None:
    """Start of the newest period of which a feed has said anything, None if it never has."""
    return _read(store, pipeline, feed, [], lambda rows: rows.select(pl.col("valid_time").max())).item()


def _visible(
    rows: pl.LazyFrame, as_of: datetime, since: datetime | None = None, within: tuple[str, str] | None = None
) -> pl.LazyFrame:
    rows = rows.filter(pl.col("available_at").is_null() | (pl.col("available_at") <= as_of))
    if within is not None:
        # A range, since a part lies series by series: row groups without any of them are not even read.
        first, last = map(pl.lit, within)
        rows = rows.filter(pl.col("series_id").is_null() | pl.col("series_id").is_between(first, last))
    return rows if since is None else rows.filter(pl.col("valid_time") >= since)


def _newest(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a key and availability: the one ingested last. Series by series, ascending in time and availability."""
    return rows if is_sorted(rows) else _last(_ordered(rows), _VERSION)


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Series by series, each ascending in time, then availability, then ingestion."""
    # Every part is in order: put together series by series they are too, or nearly, which is quickly sorted.
    runs = rows["series_id"].rle().struct.unnest()
    runs = runs.with_columns(start=pl.col("len").cum_sum() - pl.col("len")).sort("value", maintain_order=True)
    length = runs["len"].to_numpy().astype(np.int64)
    shift = runs["start"].to_numpy().astype(np.int64) - (np.cumsum(length) - length)
    rows = rows[np.repeat(shift, length) + np.arange(len(rows))]
    if is_sorted(rows):
        return rows
    series = pl.col("series_id").rle_id()
    return rows.sort(series, *_VERSION[1:], "ingested_at", nulls_last=False, maintain_order=True)


def _last(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Of ordered rows the last of each key."""
    if rows.is_empty():
        return rows
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in key)
    last = rows.select(differs.alias("last"))["last"].to_numpy(writable=True)
    last[-1] = True
    return rows.filter(pl.Series(last))


def set_aside(store: Store, pipeline: str, feed: str) -> list[str]:
    """Take the damaged parts of a feed out of its history; returns where they lie now."""
    moved = []
    for part in _files(store, pipeline, feed):
        if _is_damaged(store, part):
            aside = f"{part}{_DAMAGED}"
            store.move(part, aside)
            logger.error("%s is damaged and no part of the history any more", store.uri(aside))
            moved.append(store.uri(aside))
    return moved


def _read(
    store: Store, pipeline: str, feed: str, values: list[str], query: Callable[[pl.LazyFrame], pl.LazyFrame],
    collect: Callable[[pl.LazyFrame], pl.DataFrame] = pl.LazyFrame.collect,
) -> pl.DataFrame:  # fmt: skip
    """A query of all parts. Where a compaction took one away between the listing and the reading, list again."""
    for attempt in range(_TRIES):
        files = _files(store, pipeline, feed)
        try:
            return collect(query(_union(store, files, values)))
        except _FAULTS as error:
            if all(store.has(file) for file in files):
                damaged = [store.uri(file) for file in files if _is_damaged(store, file)]
                if not damaged:
                    raise
                raise DamagedHistory(
                    f"the history of feed {feed!r} is damaged: {', '.join(damaged)}: {error}"
                ) from None
            time.sleep(0.01 * attempt)
    raise DataError(f"the history of feed {feed!r} is compacted all the time; let one process compact it")


def _is_damaged(store: Store, part: str) -> bool:
    try:
        store.scan([part]).collect()
    except (FileNotFoundError, Missing):
        return False
    except _FAULTS:
        return True
    return False


def _union(store: Store, files: list[str], values: list[str]) -> pl.LazyFrame:
    schema = history_schema(values)
    if not files:
        return pl.LazyFrame(schema=schema)
    # A covariate that joined the feed later is missing in the older files, not an error.
    scan = store.scan(files, missing_columns="insert", extra_columns="ignore", schema=schema)
    return scan.select(schema.keys())


def _files(store: Store, pipeline: str, feed: str) -> list[str]:
    return store.keys(layout.history(pipeline, feed), "*.parquet")
