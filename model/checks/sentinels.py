"""Numbers that sources write in place of missing values, such as -999 among temperatures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from model.checks.feed_shape import FeedShape
from model.checks.findings import Finding
from storage.schemas.records import Action

_SENTINELS = frozenset(
    sign * number for number in (99.0, 99.9, 999.0, 999.9, 9999.0, 9999.9, 99999.0, 999999.0, 9999999.0)
    for sign in (-1, 1)
)  # fmt: skip
_RATIO = 2.0  # to the largest other value: a number beside others of its size is a value


class Sentinels(NamedTuple):
    """Numbers of one value column that seem to stand for missing values.

    Attributes:
        finding: What was found.
        rows: Mask of the rows that hold such a number, shape (N,).
    """

    finding: Finding
    rows: pl.Series


def find_sentinels(columns: pl.DataFrame, feed: FeedShape, action: Action) -> Iterator[Sentinels]:
    """Yield the value columns whose smallest or largest number seems to stand for missing values.

    Args:
        columns: Columns of the feed in the types of the history.
        feed: Layout of the table.
        action: Action of the check, for its findings. With `accept` it does not run.
    """
    if action == "accept":
        return
    for name in feed.values:
        column = columns[name]
        ends = {end for end in (column.min(), column.max()) if end in _SENTINELS}
        if not ends:
            continue
        found = column.is_in(list(ends)).fill_null(False)
        others = column.filter(~found).abs().max()
        if not isinstance(others, float) or others * _RATIO > min(abs(float(end)) for end in ends):  # type: ignore[arg-type]
            continue
        shown = " and ".join(f"{end:g}" for end in sorted(ends))
        times = columns["valid_time"].filter(found).drop_nulls()
        if times.is_empty():
            continue
        count = int(found.sum() or 0)
        values = "1 value" if count == 1 else f"{count:,} values"
        detail = (
            f"{values} of {name}: {shown}, which many sources write for a missing value (the largest other is "
            f"{others:g}). Declare missing in [feed.options] if the table is text, or correct the source"
        )
        finding = Finding("sentinel", action, None, count, times.min(), times.max(), detail)  # type: ignore[arg-type]
        yield Sentinels(finding, found)


def sentinel_reasons(found: list[Sentinels]) -> pl.Series | None:
    """Return the reason why each row is quarantined, null where it is not, shape (N,); None if no row is."""
    reasons = [
        pl.select(pl.when(one.rows).then(pl.lit(f"sentinel: {one.finding.detail}"))).to_series()
        for one in found
        if one.finding.action == "quarantine"
    ]
    return pl.select(pl.coalesce(reasons)).to_series() if reasons else None
