"""Bitemporal history of a feed: immutable Parquet files, called parts.

`append` adds a part, `compact` merges all parts into one, and `set_aside` takes damaged parts out of the history.

A row holds the values of one series and period (`valid_time`), which became known at `available_at` and were ingested
at `ingested_at`. Several rows of one series and period are revisions. At time T the visible revision is the one with
the latest `available_at` at or before T. A null `available_at` is visible at every T, and counts as the earliest. Of
rows with the same `available_at`, the one that was ingested last counts.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from storage import history_parts, layout
from storage.schemas import DataError, Missing, Unreadable, history_schema, is_sorted
from storage.store import Store
from storage.store.parquet import READ_ERRORS

logger = logging.getLogger(__name__)

KEY = ["series_id", "valid_time"]
_REVISION = [*KEY, "available_at"]
_FEWEST_EMPTIED = 5  # Fewer rows without a value are always a withdrawal.
_CLOCK_TOLERANCE = timedelta(minutes=10)  # Two ingests at once may differ by less.
_MAX_PARTS = 64  # with more, a feed's parts are merged into one
_READ_ATTEMPTS = 30
_GOOD_ATTEMPTS = 3  # reads that may fail though all parts can be read
_BATCH_ROWS = 240_000
_DAMAGED = ".damaged"
_REPLACED = ".replaced"
_REREAD = ".reread"  # after the name of a damaged part: an ingest has read the source from its start since
_ERRORS: tuple[type[BaseException], ...] = (*READ_ERRORS, Missing, Unreadable)
_ANY_ERRORS: tuple[type[BaseException], ...] = (*READ_ERRORS, DataError)


class Appended(NamedTuple):
    """Result of adding rows to a history.

    Attributes:
        rows: Rows that were added.
        known: Number of given rows whose series, period and availability the history had.
        replaced: Number of these that have other values now.
        emptied: Rows that were added without a value that the history has. None: there are none.
        newest_ingest: Newest time of an ingest in the history before, None for an empty one.
        kept: Number of rows without a value that were not added, see `append`.
        begun: Series whose stored rows all precede their first given one, or that have none: series_id and first.
            None for the first rows of a history.
    """

    rows: pl.DataFrame
    known: int = 0
    replaced: int = 0
    emptied: pl.DataFrame | None = None
    newest_ingest: datetime | None = None
    kept: int = 0
    begun: pl.DataFrame | None = None


def append(
    store: Store, pipeline: str, feed: str, rows: pl.DataFrame, ingested_at: datetime, keeps_emptied: bool = False
) -> Appended:
    """Add the rows that are not in the history yet.

    A row that is stored with the same availability and values adds nothing.

    Args:
        store: Store of the pipeline.
        pipeline: Name of the pipeline.
        feed: Name of the feed.
        rows: Columns series_id, valid_time, available_at and values.
        ingested_at: Time of the ingest.
        keeps_emptied: Whether the history keeps its values if most of those in `rows` are empty now. A source that
            fails may give a table without values.
    """
    values = [name for name in rows.columns if name not in _REVISION]
    is_first = not has_rows(store, pipeline, feed)
    added = Appended(rows) if is_first else _new_rows(store, pipeline, feed, rows, values, keeps_emptied)
    new = added.rows
    ahead = added.newest_ingest - ingested_at if added.newest_ingest else timedelta(0)
    if added.newest_ingest is not None and ahead > _CLOCK_TOLERANCE and not new.is_empty():
        # Of equal revisions the last ingested one counts, also after the clock was set back.
        logger.warning(
            "The history of feed %r has rows that were ingested at %s, but the clock shows %s. Check the clock. The "
            "rows of this ingest replace them.", feed, added.newest_ingest.isoformat(), ingested_at.isoformat(),
        )  # fmt: skip
        ingested_at = added.newest_ingest + timedelta(microseconds=1)
    # Most sources are sorted already, and sorting is the slowest step here.
    new = new if is_sorted(new) else new.sort(_REVISION)
    new = new.with_columns(ingested_at=pl.lit(ingested_at, dtype=pl.Datetime("us", "UTC")))
    new = new.select(history_schema(values).keys())
    if not new.is_empty():
        _write_part(store, pipeline, feed, new, ingested_at)
        if len(history_parts.list_parts(store, pipeline, feed)) > _MAX_PARTS:
            _try_to_compact(store, pipeline, feed)
    return added


def _try_to_compact(store: Store, pipeline: str, feed: str) -> None:
    try:
        compact(store, pipeline, feed)
    except _ANY_ERRORS as error:
        # The rows are stored. The next ingest tries again.
        logger.warning("The parts of the history of feed %r are not merged: %s.", feed, error)


def compact(store: Store, pipeline: str, feed: str) -> int:
    """Merge a feed's parts into one file, and return the number of parts that were removed.

    The merged file is written before the parts are removed. A crash in between leaves both, which read the same as
    the merged file alone. A part that another process adds meanwhile stays. A process that reads meanwhile retries.
    If another process merges the same parts meanwhile, this one may leave it to the other and return 0.
    """
    parts = history_parts.list_parts(store, pipeline, feed)
    if len(parts) < 2:
        return 0
    try:
        # Columns that the feed no longer names are kept as well.
        names = dict.fromkeys(name for part in parts for name in store.scan([part]).collect_schema())
        values = [name for name in names if name not in (*_REVISION, "ingested_at")]
        merged = _without_repeated_ingests(_scan_parts(store, parts, values).collect())
    except (Missing, FileNotFoundError):
        # Only a compaction removes parts. It has written their rows before.
        return 0
    _write_part(store, pipeline, feed, merged, merged.select(pl.col("ingested_at").max()).item())
    for part in parts:
        store.remove(part)
    return len(parts)


def _write_part(store: Store, pipeline: str, feed: str, rows: pl.DataFrame, ingested_at: datetime) -> None:
    # The random suffix gives two ingests of one feed in the same second different names.
    name = f"{layout.stamp(ingested_at)}-{secrets.token_hex(4)}.parquet"
    store.put_parquet(f"{layout.history(pipeline, feed)}/{name}", rows)


def _new_rows(
    store: Store, pipeline: str, feed: str, rows: pl.DataFrame, values: list[str], keeps_emptied: bool
) -> Appended:
    """Return the rows that the history lacks, or has with other values. Arguments are those of `append`."""
    is_changed = pl.any_horizontal(pl.col(v).ne_missing(pl.col(f":stored:{v}")) for v in values)
    stored = _without_repeated_ingests(_read(store, pipeline, feed, values, lambda rows: rows))
    # A leading colon keeps these names apart from those of value columns.
    columns = [pl.col(v).alias(f":stored:{v}") for v in values]
    newest_ingest: datetime | None = stored["ingested_at"].max()  # type: ignore[assignment]
    begun = _begun_series(rows, stored)
    stored = stored.select(*_REVISION, *columns, pl.lit(True).alias(":stored"))
    joined = rows.join(stored, on=_REVISION, how="left", nulls_equal=True, maintain_order="left")
    new = joined.filter(pl.col(":stored").is_null() | is_changed)
    count = len(new)
    if keeps_emptied:
        new = _without_most_emptied(new, rows, stored, values)
    is_emptied = pl.any_horizontal(pl.col(v).is_null() & pl.col(f":stored:{v}").is_not_null() for v in values)
    emptied = new.filter(is_emptied).select(rows.columns)
    return Appended(
        new.select(rows.columns),
        joined[":stored"].count(),
        new[":stored"].count(),
        None if emptied.is_empty() else emptied,
        newest_ingest,
        count - len(new),
        begun,
    )


def _begun_series(rows: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Return the series of `rows` without a stored row at or after their first one: series_id and first."""
    first = rows.group_by("series_id").agg(first=pl.col("valid_time").min())
    newest = stored.group_by("series_id").agg(newest=pl.col("valid_time").max())
    both = first.join(newest, on="series_id", how="left", nulls_equal=True)
    is_begun = pl.col("newest").is_null() | (pl.col("newest") < pl.col("first"))
    return both.filter(is_begun).select("series_id", "first").sort("series_id")


def _without_most_emptied(
    new: pl.DataFrame, rows: pl.DataFrame, stored: pl.DataFrame, values: list[str]
) -> pl.DataFrame:
    """Return the new rows without those that withdraw a value, if they are most of the values read again.

    A revision of its own availability withdraws a value as well.
    """
    empty = new.filter(pl.all_horizontal(pl.col(v).is_null() for v in values))
    if len(empty) < _FEWEST_EMPTIED:
        return new
    has_value = pl.any_horizontal(pl.col(f":stored:{v}").is_not_null() for v in values)
    keys = stored.filter(has_value).select(KEY).unique()
    withdrawn = empty.join(keys, on=KEY, how="semi", nulls_equal=True)
    known = len(rows.join(keys, on=KEY, how="semi", nulls_equal=True))
    if len(withdrawn) < _FEWEST_EMPTIED or 2 * len(withdrawn) <= known:
        return new
    return new.join(withdrawn, on=_REVISION, how="anti", nulls_equal=True, maintain_order="left")


def read_revisions(
    store: Store, pipeline: str, feed: str, values: list[str], as_of: datetime, since: datetime | None = None,
    within: tuple[str, str] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Return every revision that became known at or before `as_of`.

    Training reads this, because each training window has an as-of time of its own. Arguments are those of
    `read_as_of`.

    Returns:
        Columns series_id, valid_time, available_at and values, sorted by them.
    """
    visible = _read(store, pipeline, feed, values, lambda rows: _visible(rows, as_of, since, within))
    return _without_repeated_ingests(visible).drop("ingested_at")


def read_as_of(
    store: Store, pipeline: str, feed: str, values: list[str], as_of: datetime, since: datetime | None = None,
    within: tuple[str, str] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Return the as-of view of a feed: for each series and period, the values that were known at `as_of`.

    Args:
        store: Store of the pipeline.
        pipeline: Name of the pipeline.
        feed: Name of the feed.
        values: Value columns to read.
        as_of: Time of the view.
        since: Earliest valid_time to read. None reads all.
        within: First and last series_id to read. Values that all series share are always read.

    Returns:
        Columns series_id, valid_time and values. Rows of one series are contiguous and ascend in time.
    """
    columns = [*KEY, *values]
    if len(history_parts.list_parts(store, pipeline, feed)) < 2:
        # is_sorted is strict: no series and period occurs twice. So the columns that order revisions are not needed.
        rows = _read(store, pipeline, feed, values, lambda rows: _visible(rows, as_of, since, within).select(columns))
        if is_sorted(rows):
            return rows
    rows = _read(store, pipeline, feed, values, lambda rows: _visible(rows, as_of, since, within))
    return _last_rows(_sort(rows), KEY).select(columns)


def read_series_ids(store: Store, pipeline: str, feed: str, as_of: datetime) -> list[str]:
    """Return the sorted ids of all series with a row that was available at or before `as_of`."""

    def collect_ids(rows: pl.LazyFrame) -> pl.DataFrame:
        # Rows of a series are contiguous: run-length encoding leaves few ids in memory, batch by batch.
        batches = rows.select("series_id").collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True)
        ids = [batch["series_id"].rle().struct.field("value").alias("series_id") for batch in batches]
        return pl.concat([pl.Series("series_id", [], pl.String), *ids]).to_frame()

    ids = _read(store, pipeline, feed, [], lambda rows: _visible(rows, as_of), collect_ids)
    return ids["series_id"].drop_nulls().unique().sort().to_list()


def newest_available_at(store: Store, pipeline: str, feed: str, value: str, not_after: datetime) -> datetime | None:
    """Return the latest `available_at` of a value, at most `not_after`. None if no value has such a time."""
    latest = pl.col("available_at").filter(pl.col(value).is_not_null()).max()

    def collect_streaming(query: pl.LazyFrame) -> pl.DataFrame:
        # The maximum needs one pass, so the rows need not be in memory together.
        return query.collect(engine="streaming")

    table = _read(
        store, pipeline, feed, [value], lambda rows: _visible(rows, not_after).select(latest), collect_streaming
    )
    available_at: datetime | None = table.item()
    return available_at


def newest_periods(
    store: Store, pipeline: str, feed: str, value: str, as_of: datetime, within: tuple[str, str] | None = None
) -> pl.DataFrame:
    """Return the newest period of each series with a value that was known at `as_of`.

    Returns:
        Columns series_id, which is null for a value that all series share, and valid_time.
    """

    def query(rows: pl.LazyFrame) -> pl.LazyFrame:
        visible = _visible(rows, as_of, within=within).filter(pl.col(value).is_not_null())
        return visible.group_by("series_id").agg(pl.col("valid_time").max())

    return _read(store, pipeline, feed, [value], query)


def count_values(store: Store, pipeline: str, feed: str, value: str, as_of: datetime, since: datetime) -> pl.DataFrame:
    """Return how many values each series has since a time that were known at `as_of`, and the first period of them.

    A revision counts as a value of its own.

    Returns:
        Columns series_id, values and first.
    """

    def query(rows: pl.LazyFrame) -> pl.LazyFrame:
        visible = _visible(rows, as_of, since).filter(pl.col(value).is_not_null())
        return visible.group_by("series_id").agg(values=pl.len(), first=pl.col("valid_time").min())

    def collect_streaming(query: pl.LazyFrame) -> pl.DataFrame:
        return query.collect(engine="streaming")

    return _read(store, pipeline, feed, [value], query, collect_streaming)


def read_arrivals(
    store: Store, pipeline: str, feed: str, value: str, as_of: datetime, since: datetime,
    within: tuple[str, str] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Return when each value became available and was ingested. Arguments are those of `read_as_of`.

    Returns:
        Columns series_id, valid_time, available_at and ingested_at, in no order, one row for each revision.
    """

    def query(rows: pl.LazyFrame) -> pl.LazyFrame:
        visible = _visible(rows, as_of, since, within).filter(pl.col(value).is_not_null())
        return visible.select(*_REVISION, "ingested_at")

    return _read(store, pipeline, feed, [value], query)


def first_ingest(store: Store, pipeline: str, feed: str) -> datetime | None:
    """Return when the first rows of a feed were ingested, None if the history is empty."""
    table = _read(store, pipeline, feed, [], lambda rows: rows.select(pl.col("ingested_at").min()))
    ingested_at: datetime | None = table.item()
    return ingested_at


def last_ingest(store: Store, pipeline: str, feed: str) -> datetime | None:
    """Return when rows of a feed were ingested last, None if the history is empty."""
    table = _read(store, pipeline, feed, [], lambda rows: rows.select(pl.col("ingested_at").max()))
    ingested_at: datetime | None = table.item()
    return ingested_at


def newest_valid_time(store: Store, pipeline: str, feed: str) -> datetime | None:
    """Return the start of the newest period in a feed's history, or None if the history is empty."""
    table = _read(store, pipeline, feed, [], lambda rows: rows.select(pl.col("valid_time").max()))
    valid_time: datetime | None = table.item()
    return valid_time


def read_valid_times(store: Store, pipeline: str, feed: str) -> pl.Series:
    """Return the starts of all periods in a feed's history, sorted, each once."""
    table = _read(store, pipeline, feed, [], lambda rows: rows.select(pl.col("valid_time").unique().sort()))
    return table["valid_time"]


def has_rows(store: Store, pipeline: str, feed: str) -> bool:
    """Return whether the history of a feed has any part."""
    return bool(history_parts.list_parts(store, pipeline, feed))


def _visible(
    rows: pl.LazyFrame, as_of: datetime, since: datetime | None = None, within: tuple[str, str] | None = None
) -> pl.LazyFrame:
    rows = rows.filter(pl.col("available_at").is_null() | (pl.col("available_at") <= as_of))
    if within is not None:
        # A part is sorted by series: with a range, Polars skips row groups outside it without reading them.
        first, last = map(pl.lit, within)
        rows = rows.filter(pl.col("series_id").is_null() | pl.col("series_id").is_between(first, last))
    return rows if since is None else rows.filter(pl.col("valid_time") >= since)


def _without_repeated_ingests(rows: pl.DataFrame) -> pl.DataFrame:
    """Return each revision once: of rows with the same series, period and availability, the one ingested last.

    The rows are sorted by series, period and availability.
    """
    return rows if is_sorted(rows) else _last_rows(_sort(rows), _REVISION)


def _sort(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with series contiguous, each ascending in time, then availability, then time of ingest."""
    # Every part is sorted. Gathering each series' rows from all parts leaves the table sorted or nearly so, and a
    # nearly sorted table sorts fast.
    runs = rows["series_id"].rle().struct.unnest()
    runs = runs.with_columns(start=pl.col("len").cum_sum() - pl.col("len")).sort("value", maintain_order=True)
    length = runs["len"].to_numpy().astype(np.int64)
    shift = runs["start"].to_numpy().astype(np.int64) - (np.cumsum(length) - length)
    rows = rows[np.repeat(shift, length) + np.arange(len(rows))]
    if is_sorted(rows):
        return rows
    series = pl.col("series_id").rle_id()
    return rows.sort(series, *_REVISION[1:], "ingested_at", nulls_last=False, maintain_order=True)


def _last_rows(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Return the last row of each key in a sorted table."""
    if rows.is_empty():
        return rows
    differs_from_next = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in key)
    is_last = rows.select(differs_from_next.alias("last"))["last"].to_numpy(writable=True)
    is_last[-1] = True
    return rows.filter(pl.Series(is_last))


def _read(
    store: Store, pipeline: str, feed: str, values: list[str], query: Callable[[pl.LazyFrame], pl.LazyFrame],
    collect: Callable[[pl.LazyFrame], pl.DataFrame] = pl.LazyFrame.collect,
) -> pl.DataFrame:  # fmt: skip
    """Return the result of a query on all parts. Parts that a compaction removed meanwhile cause a retry."""
    for attempt in range(_READ_ATTEMPTS):
        parts = history_parts.list_parts(store, pipeline, feed)
        try:
            return collect(query(_scan_parts(store, parts, values)))
        except _ERRORS as error:
            if all(history_parts.exists(store, part) for part in parts):
                unusable = history_parts.find_unusable(store, feed, parts)
                # A server may have answered once with an error or with other bytes. Then all parts are good now.
                if unusable is not None or attempt >= _GOOD_ATTEMPTS:
                    raise unusable or error from None
            time.sleep(0.01 * attempt)
    raise DataError(
        f"the history of feed {feed!r} cannot be read: it was compacted during each of {_READ_ATTEMPTS} attempts. "
        "Run the command again, and let only one ingest run at a time"
    )


def _scan_parts(store: Store, parts: list[str], values: list[str]) -> pl.LazyFrame:
    schema = history_schema(values)
    if not parts:
        return pl.LazyFrame(schema=schema)
    # A covariate that was added to the feed later is null in the older parts.
    scan = store.scan(parts, missing_columns="insert", extra_columns="ignore", schema=schema)
    return scan.select(schema.keys())
