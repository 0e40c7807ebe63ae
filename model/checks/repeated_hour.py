"""Assignment of repeated wall-clock times to the first or second instant.

When clocks go back, each wall-clock time of an hour (half an hour on Lord Howe Island) stands for two instants. The
order of the rows around a time shows which one it means, if the rows are in order of time, oldest or newest first.
A time that the rows leave open is not guessed, because a value at the wrong instant is worse than a missing one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import polars as pl

Fold = Literal["auto", "first", "second", "refuse"]
"""Instant of a repeated time whose rows do not show it; `auto` is the first if the source lists the hour once."""

#: Columns of the rows around repeated times, beside those that identify a sequence.
ROW, WALL, CHANGE, LENGTH, IS_REPEATED, AVAILABLE = ":row", ":wall", ":change", ":length", ":is_repeated", ":available"

_DAY = 86_400_000_000  # microseconds
_MOST_STEPS_BACK = 8  # A sequence has a direction if at most one step of so many goes the other way.
_RUN, _GROUP = ":run", ":group"


class Passes(NamedTuple):
    """Decisions on the rows with a repeated time.

    Attributes:
        rows: Columns :row, is_second (null if the instant is open) and is_single (the source lists the hour once).
        lists_both: Whether any sequence of the feed lists a repeated time twice.
    """

    rows: pl.DataFrame
    lists_both: bool


def find_neighbours(times: pl.Series, repeated: pl.Series, length: pl.Series) -> pl.DataFrame:
    """Return the rows of the days around each repeated time, in the order of the feed.

    Args:
        times: Naive wall-clock times of all rows.
        repeated: Numbers of the R rows with a repeated time.
        length: Microseconds between the two instants of each of these rows, shape (R,).

    Returns:
        Columns :row, :wall (us), :change (number of the clock change), :length (us) and :is_repeated.
    """
    wall = times.dt.epoch("us")
    day = pl.col("day")
    days = pl.DataFrame({"day": wall.gather(repeated) // _DAY, LENGTH: length}).group_by("day").agg(pl.max(LENGTH))
    # An interval that begins before midnight and ends after it is one clock change.
    days = days.sort("day").with_columns(((day - day.shift()).fill_null(9) > 1).cum_sum().alias(CHANGE))
    days = days.with_columns(pl.max(LENGTH).over(CHANGE))
    days = days.with_columns(day=pl.concat_list(day - 1, day, day + 1)).explode("day").unique("day", keep="first")
    row_day = wall // _DAY
    rows = row_day.is_in(days["day"].implode()).fill_null(False).arg_true()
    near = pl.DataFrame({ROW: rows, WALL: wall.gather(rows), "day": row_day.gather(rows)})
    near = near.join(days, on="day", how="left", maintain_order="left").drop("day")
    return near.with_columns(pl.col(ROW).is_in(repeated.implode()).alias(IS_REPEATED))


def choose_passes(near: pl.DataFrame, keys: list[str], fold: Fold) -> Passes:
    """Decide for each row with a repeated time whether it means the second instant.

    Rows count in order of time within a sequence: one series, file and publication. Within the repeated interval such
    a sequence steps back once, from the first pass to the second, or lists each time twice in a row.

    Args:
        near: Result of `find_neighbours`, with the columns `keys`, :available (us; null without such a column) and
            :is_unclear (whether a clock change repeats the time of availability).
        keys: Columns that identify a sequence: series and file.
        fold: Instant of the times that the rows leave open.
    """
    rows = _order_runs(_split_by_publication(near, keys), [CHANGE, *keys, ":batch"])
    rows = _count_steps_back(rows)
    inside = rows.filter(IS_REPEATED).with_columns(is_second=_decide())
    lists_both = inside["is_second"].is_not_null().any()
    is_single = inside["is_single"] & (not lists_both)
    inside = inside.with_columns(is_single=is_single & (fold == "auto"))
    if fold in ("first", "second"):
        # Of several rows with an open time, no key of the feed can say which is which.
        is_alone = pl.col("is_second").is_null() & (pl.len().over(_GROUP, WALL) == 1)
        inside = inside.with_columns(is_second=pl.when(is_alone).then(fold == "second").otherwise("is_second"))
    elif fold == "auto":
        inside = inside.with_columns(is_second=pl.when("is_single").then(False).otherwise("is_second"))
    return Passes(inside.select(ROW, "is_second", "is_single"), lists_both)


def _split_by_publication(near: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Add the publication of each row, null where rows are published one by one.

    One publication of many rows, such as a weather forecast, is a sequence of its own. Rows that are published as they
    are measured form one sequence, although each has another time of publication. A time of publication that the clock
    change repeats may be that of two publications, whose rows are the length of the change apart.
    """
    span = (pl.col(WALL).max() - pl.col(WALL).min()).over(CHANGE, *keys, AVAILABLE)
    shortest = pl.col(LENGTH) * pl.when(":is_unclear").then(2).otherwise(1)
    return near.with_columns(pl.when(span >= shortest).then(AVAILABLE).alias(":batch"))


def _order_runs(near: pl.DataFrame, sequence: list[str]) -> pl.DataFrame:
    """Return the rows in ascending order of time, with the number of their sequence and of their ascending run.

    A step back within the repeated interval belongs to a run. Any other step back begins a new one, as where a table
    was appended to another.
    """
    rows = near.sort(sequence, maintain_order=True, nulls_last=False)
    rows = rows.with_columns(pl.struct(sequence).rle_id().alias(_GROUP)).with_columns(_steps())
    sign = pl.when(pl.col("is_inside") | (pl.col("step") == 0)).then(None).otherwise(pl.col("step").sign())
    up, down = (sign > 0).sum().over(_GROUP), (sign < 0).sum().over(_GROUP)
    fewer, more = pl.min_horizontal(up, down), pl.max_horizontal(up, down)
    has_direction = (more > 0) & (fewer * _MOST_STEPS_BACK <= more)
    direction = pl.when(~has_direction).then(0).when(up > down).then(1).otherwise(-1)
    rows = rows.with_columns(direction.alias("direction"), order=pl.int_range(pl.len(), dtype=pl.Int64) * direction)
    rows = rows.sort(_GROUP, "order", maintain_order=True).with_columns(_steps())
    is_pass = pl.col("is_inside") & (pl.col("step") > -pl.col(LENGTH))
    begins = pl.col("step").is_null() | ((pl.col("step") < 0) & ~is_pass)
    return rows.with_columns(begins.alias("begins"), begins.cum_sum().alias(_RUN))


def _steps() -> list[pl.Expr]:
    """Return the step from the row before, null for the first of a sequence, and whether it is inside the interval."""
    is_same = pl.col(_GROUP) == pl.col(_GROUP).shift()
    return [
        pl.when(is_same).then(pl.col(WALL).diff()).alias("step"),
        pl.when(is_same).then(pl.col(AVAILABLE).diff()).fill_null(0).alias("delay"),
        (is_same & pl.col(IS_REPEATED) & pl.col(IS_REPEATED).shift()).fill_null(False).alias("is_inside"),
    ]


def _count_steps_back(rows: pl.DataFrame) -> pl.DataFrame:
    """Add to each row the facts about its run that decide its repeated times."""
    step, delay, inside = pl.col("step"), pl.col("delay"), pl.col("is_inside")
    is_equal = step == 0
    # Rows of one time outside the interval are revisions, listed by ascending or descending time of publication.
    outside = is_equal & ~inside
    revisions = {
        name: (outside & condition).any().over(_GROUP).fill_null(False)
        for name, condition in (("up", delay > 0), ("down", delay < 0), ("copies", delay == 0))
    }
    rows = rows.with_columns(**revisions)
    listed = pl.col("up").cast(pl.Int8) - pl.col("down").cast(pl.Int8)
    goes_back = inside & ((step < 0) | (is_equal & (delay * listed < 0)))
    # Published much later than the row before, a row of the same time is its revision and not the next hour.
    follows = (listed != 0) | delay.is_between(0, 2 * pl.col(LENGTH))
    is_tie = inside & is_equal & (delay * listed == 0)
    shortest = pl.when(~inside & (step > 0)).then(step).min().over(_GROUP)
    touches = pl.col(IS_REPEATED) | pl.col(IS_REPEATED).shift()
    has_gap = ~pl.col("begins") & touches & (step > shortest)
    return rows.with_columns(
        second=goes_back.cum_sum().over(_RUN) > 0,
        steps_back=goes_back.sum().over(_RUN),
        ties=is_tie.sum().over(_RUN),
        equals=(inside & is_equal).sum().over(_RUN),
        is_tie=is_tie,
        count=pl.len().over(_RUN, WALL),
        is_clear=(pl.col("direction") != 0) & ~pl.col("copies") & ~(pl.col("up") & pl.col("down")),
        follows=pl.when(goes_back | is_tie).then(follows).otherwise(True),
        has_gap=has_gap.any().over(_RUN),
        begins_inside=(pl.col("begins") & pl.col(IS_REPEATED)).any().over(_RUN),
    ).with_columns(
        is_single=pl.col("is_clear") & (pl.col("steps_back") == 0) & (pl.col("equals") == 0)
        & ~pl.col("has_gap") & ~pl.col("begins_inside")
    )  # fmt: skip


def _decide() -> pl.Expr:
    """Return whether a row means the second instant, null where the rows of its run leave it open."""
    one_step_back = (pl.col("steps_back") == 1) & (pl.col("ties") == 0) & pl.col("follows").all().over(_RUN)
    is_pair = (
        (pl.col("steps_back") == 0) & (pl.col("count") == 2) & (pl.col("equals") == pl.col("ties"))
        & pl.col("follows").all().over(_RUN, WALL)
    )  # fmt: skip
    return (
        pl.when(~pl.col("is_clear")).then(None)
        .when(one_step_back).then("second")
        .when(is_pair).then("is_tie")
    )  # fmt: skip
