"""Keys that repeat with different values: a dimension of the table that the feed does not declare.

Some repeats are normal: a file that overlaps the one before it and revises a few values, or a final row after a
preliminary one. If most keys repeat, only the last row of each would be kept, so the feed is refused.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from model.checks.feed_shape import FeedShape
from model.checks.wall_clock import to_wall_clock
from storage.schemas import DataError

_KEY = ["series_id", "valid_time", "available_at"]
_MOST = 0.5  # share of the keys
# Fewer repeated keys are revisions, unless one comes as often as _OFTEN: a preliminary, a final and a revised row.
_FEWEST = 3
_OFTEN = 4
_FEWEST_NEWEST = 6  # newest times with repeated keys only
# A candidate column may leave this share of the repeated keys.
_STILL_REPEATED = 0.01
_MOST_VALUES = 0.5  # A column with more values per row is a measurement or a number of the row, and no dimension.
_SHOWN = 3


class RepeatedKeysError(DataError):
    """A feed in which most keys repeat with different values."""


def check_repeated_keys(rows: pl.DataFrame, feed: FeedShape, new_from: datetime | None = None) -> None:
    """Raise RepeatedKeysError if most keys repeat with different values, or most of the new ones.

    A dimension may begin with the newest rows, such as forecasts beside actuals. Among a long history they are few.

    Args:
        rows: Rows without a fault, in the order of the feed: series_id, valid_time, available_at and values.
        feed: Layout of the table.
        new_from: Valid time after which periods are new to the history. None: not known.
    """
    if feed.repeats == "last":
        return
    counts = rows.group_by(_KEY).agg(count=pl.len(), differs=pl.struct(feed.values).n_unique() > 1)
    if not counts["differs"].any():
        return
    _require_few(rows, counts, feed, "")
    if new_from is not None:
        is_new = pl.col("valid_time") > new_from
        _require_few(rows.filter(is_new), counts.filter(is_new), feed, "new ")
    newest = _newest_pairs(rows, counts)
    if newest is not None:
        is_new = pl.col("valid_time") >= newest
        _require_few(rows.filter(is_new), counts.filter(is_new), feed, "new ")


def _require_few(rows: pl.DataFrame, counts: pl.DataFrame, feed: FeedShape, which: str) -> None:
    """Raise RepeatedKeysError if most of the keys repeat with different values."""
    repeated = counts.filter("differs")
    is_rare = len(repeated) < _FEWEST and (repeated["count"] < _OFTEN).all()
    if is_rare or len(repeated) <= _MOST * len(counts) or _are_overlapping_files(rows, repeated):
        return
    often = int(repeated["count"].mode().sort()[0])
    what = f"{which}time" if feed.series_id is None else f"{which}series and time"
    if len(repeated) == len(counts) and repeated["count"].n_unique() == 1:
        problem = f"each {what} comes {often} times with different values"
    else:
        problem = (
            f"{len(repeated):,} of {len(counts):,} {what}s come several times, mostly {often}, with different values"
        )
    raise RepeatedKeysError(f"feed {feed.name!r}: {problem} ({_example(rows, repeated, feed)})")


def _newest_pairs(rows: pl.DataFrame, counts: pl.DataFrame) -> datetime | None:
    """Return the first of the newest times of which all keys repeat in neighbouring rows, None if they are few.

    Revisions are appended as a block. Rows that stand side by side are no revisions of each other.
    """
    by_time = counts.group_by("valid_time").agg(pl.col("differs").all()).sort("valid_time", descending=True)
    count = int(by_time["differs"].cum_min().sum())
    if count < _FEWEST_NEWEST:
        return None
    newest: datetime = by_time["valid_time"][count - 1]
    distance = rows.with_row_index("row").filter(pl.col("valid_time") >= newest).group_by(_KEY)
    spread = distance.agg(spread=pl.col("row").max() - pl.col("row").min(), count=pl.len())
    series = rows["series_id"].n_unique()
    return newest if (spread["spread"] < spread["count"] * series).all() else None


def find_dimensions(table: pl.DataFrame, feed: FeedShape) -> list[str]:
    """Return the columns that distinguish the rows of repeated keys, those with the fewest values first.

    Args:
        table: All columns of the source.
        feed: Layout of the table.
    """
    key = [name for name in (feed.series_id, feed.valid_time, feed.available_at) if name is not None]
    others = [
        column for column in table.columns
        if column not in feed.columns and not (table[column].dtype.is_nested() or table[column].dtype.is_float())
    ]  # fmt: skip
    most = _STILL_REPEATED * _count_repeated(table, key, feed)
    sizes = {name: table[name].n_unique() for name in others}
    dimensions = [
        name for name in others
        if 1 < sizes[name] <= _MOST_VALUES * len(table) and _count_repeated(table, [*key, name], feed) <= most
    ]  # fmt: skip
    return sorted(dimensions, key=lambda name: sizes[name])


def remedy(dimensions: list[str], table: pl.DataFrame) -> str:
    """Return what to do about repeated keys, in sentences.

    Args:
        dimensions: Columns from `find_dimensions`.
        table: All columns of the source.
    """
    names = [f"{name!r} ({_values(table[name])})" for name in dimensions[:_SHOWN]]
    hint = f" The rows differ in {' and in '.join(names)}." if names else ""
    return (
        f"Is a column missing as series_id?{hint} Set series_id, or read only one kind of rows, or join a date and an "
        'hour into one time, or set repeats = "last" if the last row of each is the right one.'
    )


def _count_repeated(table: pl.DataFrame, key: list[str], feed: FeedShape) -> int:
    differs = table.group_by(key).agg(differs=pl.struct(feed.values).n_unique() > 1)["differs"]
    return int(differs.sum() or 0)


def _are_overlapping_files(rows: pl.DataFrame, repeated: pl.DataFrame) -> bool:
    """Return whether the rows are overlapping files, each of which begins and ends later than the one before.

    No key repeats within such a file. The repeats are then revisions, and the last one of a key counts.
    """
    series = repeated["series_id"][0]
    is_of_series = pl.col("series_id").eq_missing(pl.lit(series, pl.String))
    times = rows.filter(is_of_series)["valid_time"].to_physical().to_numpy()
    differences = np.diff(times)
    direction = 1 if (differences > 0).sum() >= (differences < 0).sum() else -1
    begins = np.append(0, np.flatnonzero(differences * direction <= 0) + 1)
    ends = np.append(begins[1:], len(times)) - 1
    if len(begins) > len(times) // 2:
        return False
    oldest, newest = np.minimum(times[begins], times[ends]), np.maximum(times[begins], times[ends])
    return bool((np.diff(oldest) > 0).all() and (np.diff(newest) > 0).all())


def _example(rows: pl.DataFrame, repeated: pl.DataFrame, feed: FeedShape) -> str:
    """Return the first repeated key and its values."""
    of_first = rows.join(repeated.select(_KEY), on=_KEY, how="semi", nulls_equal=True, maintain_order="left").head(1)
    same = rows.join(of_first.select(_KEY), on=_KEY, how="semi", nulls_equal=True, maintain_order="left")
    name = next(name for name in feed.values if same[name].n_unique() > 1)
    series = f"{of_first['series_id'][0]} " if feed.series_id else ""
    time = to_wall_clock(of_first["valid_time"], feed.time_zone).dt.strftime("%Y-%m-%d %H:%M")[0]
    values = [f"{value:g}" if value is not None else "missing" for value in same[name].head(_SHOWN).to_list()]
    return f"first: {series}{time} has {name} {', '.join(values)}{', ...' if len(same) > _SHOWN else ''}"


def _values(column: pl.Series) -> str:
    """Return the number of values of a column and some of them."""
    values = column.unique(maintain_order=True)
    examples = ", ".join(map(str, values.head(_SHOWN).to_list()))
    return f"{len(values):,} values: {examples}{', ...' if len(values) > _SHOWN else ''}"
