"""Reasons to refuse single rows of a feed.

Each test covers a whole column. Texts of reasons are only built if a test finds a fault, so a clean feed costs one pass
per column and test.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from model.checks.feed_shape import FeedShape
from model.checks.number_texts import unreadable_numbers, value_texts
from model.checks.reasons import DUPLICATE, NOT_A_NUMBER, NOT_A_TIME, with_cell
from model.checks.repeated_keys import check_repeated_keys
from model.timegrid import MINUTE, TimeGrid
from storage.schemas import is_sorted

_KEY = ["series_id", "valid_time", "available_at"]
_OUT_OF_RANGE = "time is before 1800 or after 2199"
_FIRST, _LAST = datetime(1800, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_LARGEST = float(np.finfo(np.float32).max)  # Panels store values in single precision.


class _Reasons:
    """Masks of refused rows with the reason for each. The first mask that covers a row decides."""

    def __init__(self) -> None:
        self._refusals: list[tuple[pl.Series, pl.Expr]] = []

    def add(self, mask: pl.Series, reason: str | pl.Expr, cells: pl.Series | None = None) -> None:
        """Refuse the rows of a mask. If `cells` are given, the reason of each row names its cell."""
        if not mask.any():
            return  # The texts of all cells would take longer than the other checks.
        if cells is not None:
            reason = with_cell(str(reason), cells)
        self._refusals.append((mask, pl.lit(reason) if isinstance(reason, str) else reason))

    def column(self) -> pl.Series | None:
        """Return the reason of each row, null if it has none; None if no row has any."""
        if not self._refusals:
            return None
        return pl.select(pl.coalesce([pl.when(pl.lit(mask)).then(text) for mask, text in self._refusals])).to_series()


def refusal_reasons(
    rows: pl.DataFrame, columns: pl.DataFrame, feed: FeedShape, grid: TimeGrid,
    bounds: tuple[float | None, float | None], time_problem: pl.Series | None,
    source_problem: pl.Series | None = None, new_from: datetime | None = None,
) -> pl.Series | None:  # fmt: skip
    """Return why each row is refused, null if it is not, or None if no row is.

    Args:
        rows: The table as it was read.
        columns: Its columns in the types of the history, from `history_columns`.
        feed: Layout of the table.
        grid: Grid of the pipeline.
        bounds: Physical limits of a target.
        time_problem: Problem with each valid time that was read, from `valid_times`.
        source_problem: Problem with each row that its source found, or None without any.
        new_from: Valid time after which periods are new to the history. None: not known.
    """
    reasons = _Reasons()
    if source_problem is not None:
        reasons.add(source_problem.is_not_null(), pl.lit(source_problem))
    if time_problem is not None:
        reasons.add(time_problem.is_not_null(), pl.lit(time_problem))
        if grid.step and not feed.resample:
            reasons.add(
                _first_of_finer_steps(columns, grid.step, grid.offset),
                f"one of several values within {grid.frequency}: the feed has finer steps here (see resample)",
            )
    _add_key_reasons(reasons, rows, columns, feed)
    # A sum is checked after the aggregation.
    limits = bounds if feed.role == "target" and feed.resample != "sum" else (None, None)
    for name in feed.values:
        _add_value_reasons(reasons, rows[name], columns[name], feed, limits)
    return _with_duplicates(columns, reasons.column(), feed, new_from)


def _add_key_reasons(reasons: _Reasons, rows: pl.DataFrame, columns: pl.DataFrame, feed: FeedShape) -> None:
    time = columns["valid_time"]
    _add_time_reason(reasons, rows[feed.valid_time], time)
    reasons.add((time < _FIRST) | (time >= _LAST), _OUT_OF_RANGE)
    if feed.series_id is not None:
        ids = columns["series_id"]
        reasons.add(ids.is_null() | (ids == ""), f"{feed.series_id} is empty")
    if feed.available_at is not None:
        _add_time_reason(reasons, rows[feed.available_at], columns["available_at"])
        reasons.add(columns["available_at"] < _FIRST, f"{feed.available_at}: {_OUT_OF_RANGE}")


def _add_time_reason(reasons: _Reasons, cells: pl.Series, times: pl.Series) -> None:
    is_unreadable = times.is_null()
    if is_unreadable.any():
        reasons.add(is_unreadable & cells.is_null(), f"{cells.name} is empty")
        reasons.add(is_unreadable, f"{cells.name} {NOT_A_TIME}", cells)


def _add_value_reasons(
    reasons: _Reasons, cells: pl.Series, value: pl.Series, feed: FeedShape, limits: tuple[float | None, float | None]
) -> None:
    """Add the reasons for one value column: its cells as they were read, and as numbers."""
    name = cells.name
    if cells.dtype == pl.String:
        text = value_texts(cells, feed.text)
        reasons.add(unreadable_numbers(text, value), f"{name} {NOT_A_NUMBER}", text)
    largest, smallest = value.max() or 0.0, value.min() or 0.0
    if max(largest, -smallest) > _LARGEST:  # type: ignore[operator]
        reasons.add(value.is_infinite(), f"{name} is infinite")
        reasons.add(value.abs() > _LARGEST, f"{name} is beyond single precision", value)
    lower, upper = limits
    if lower is not None:
        reasons.add(value < lower, f"{name} is below the bound {lower}", value)
    if upper is not None:
        reasons.add(value > upper, f"{name} is above the bound {upper}", value)


def _first_of_finer_steps(columns: pl.DataFrame, step: int, offset: int) -> pl.Series:
    """Return which rows on the grid share their period with rows of finer steps (whole five minutes).

    Such a row holds the first quarter of an hour, and not the hour.
    """
    if not (columns["valid_time"].dt.epoch("us") % step != offset).any():
        return pl.zeros(len(columns), dtype=pl.Boolean, eager=True)
    start = pl.col("valid_time").dt.epoch("us") - offset
    periods = columns.select("series_id", period=start // step, off=start % step != 0, fine=start % (5 * MINUTE) == 0)
    shared = periods.filter(pl.col("off") & pl.col("fine")).select("series_id", "period", shared=pl.lit(True)).unique()
    joined = periods.join(shared, on=["series_id", "period"], how="left", nulls_equal=True, maintain_order="left")
    return joined.select(~pl.col("off") & pl.col("shared").fill_null(False)).to_series().fill_null(False)


def _with_duplicates(
    columns: pl.DataFrame, reason: pl.Series | None, feed: FeedShape, new_from: datetime | None
) -> pl.Series | None:
    """Add a reason to rows that have the same series, time and availability as a later usable row.

    Raises:
        RepeatedKeysError: Most keys repeat with different values.
    """
    usable = pl.Series(np.ones(len(columns), bool)) if reason is None else reason.is_null()
    if is_sorted(columns if reason is None else columns.filter(usable)):
        return reason
    keys = columns.select(_KEY).with_row_index("row").filter(usable)
    last = keys.group_by(_KEY, maintain_order=False).agg(pl.col("row").max())
    if len(last) == len(keys):
        return reason
    check_repeated_keys(columns if reason is None else columns.filter(usable), feed, new_from)
    is_duplicate = usable.to_numpy().copy()
    is_duplicate[last["row"].to_numpy()] = False
    if reason is None:
        reason = pl.repeat(None, len(columns), dtype=pl.String, eager=True)
    texts = pl.when(pl.Series(is_duplicate)).then(pl.lit(DUPLICATE)).otherwise(pl.lit(reason))
    return pl.select(texts).to_series()
