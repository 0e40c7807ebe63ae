"""Reasons of refused rows: their texts, their kinds, and what a user can do about a kind.

A reason may end in the cell that it is about: "y is not a number, got 'n/e'". Its kind is the text without the cell, so
that thousands of refused cells are one line of a report.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from model.checks.time_texts import ACCEPTED_TIMES, suggested_format

#: Kind of a row whose key a later row of the feed repeats.
DUPLICATE = "duplicate: a later row of the feed has the same series and time"
NOT_A_TIME, NOT_A_DATE, NOT_A_NUMBER = "is not a time", "is not a date", "is not a number"
OFF_GRID = "time is not on the"
_GRID_SETTING = "pipeline.grid_offset"  # A reason off the grid that names this setting is an advice itself.

_GOT, _AT, _IN = ", got ", "at ", "in "
# Checks of whole series that can refuse rows. Their reasons contain figures of the series.
_CHECKS = r"^(flat_line|spike|dropout|unit_jump|repeated_block): .*"
_COUNTS = r"^\d+ of \d+ values"
_HAS_FIGURES = re.compile(f"{_CHECKS}|{_COUNTS}")


class ReasonGroup(NamedTuple):
    """Refused rows of one kind.

    Attributes:
        kind: Reason without the cell.
        rows: Number of rows.
        example: Cell and time of the first of them, and its row.
        cell: Cell alone, empty if the reason has none.
    """

    kind: str
    rows: int
    example: str
    cell: str


def cell_texts(cells: pl.Series) -> pl.Series:
    """Return cells as texts, times without the zeros of a fraction of a second."""
    texts = cells.cast(pl.String)
    return texts.str.replace(r"(:\d\d)\.0+", "$1") if isinstance(cells.dtype, pl.Datetime) else texts


def with_cell(kind: str, cells: pl.Series) -> pl.Expr:
    """Return an expression for a reason about each cell. Texts are quoted."""
    quote = "'" if cells.dtype == pl.String else ""
    return pl.format(f"{{}}{_GOT}{quote}{{}}{quote}", pl.lit(kind), pl.lit(cell_texts(cells)).fill_null(""))


def group_reasons(
    reasons: pl.Series, times: pl.Series | None = None, place: Callable[[int], str] | None = None
) -> tuple[ReasonGroup, ...]:
    """Return the kinds of the refused rows, the most frequent first.

    Args:
        reasons: Reason of each refused row.
        times: Cells of their valid times, as they were read. None: not known.
        place: Function that returns where a refused row stands in its source, from its number. None: not known.
    """
    cells = pl.lit(None, pl.String) if times is None else pl.lit(cell_texts(times))
    frame = reasons.alias("reason").to_frame().with_columns(cells.alias("time")).with_row_index("row")
    kind = (
        pl.col("reason")
        .str.replace(rf"(?s){_GOT}.*$", "")
        .str.replace(_CHECKS, "$1")
        .str.replace(_COUNTS, "incomplete set of values")
    )
    groups = frame.group_by(kind.alias("kind"), maintain_order=True).agg(
        pl.len(), pl.col("reason", "time", "row").first()
    )
    return tuple(
        ReasonGroup(kind, rows, _example(reason, time, place(row) if place else ""), reason.partition(_GOT)[2])
        for kind, rows, reason, time, row in groups.sort("len", descending=True, maintain_order=True).iter_rows()
    )


def first_text(example: str) -> str:
    """Return an example in brackets, as a report adds it to its reason, or an empty text."""
    if not example:
        return ""
    return f" (first {example})" if example.startswith((_AT, _IN)) else f" (first: {example})"


#: How to declare the form of numbers. The two marks differ, so that nobody copies one comma into both.
NUMBER_ADVICE = (
    'Declare in [feed.options] how numbers are written: decimal = "," for 1,5; thousands = "," for 1,500, and "." for '
    '1.500; missing = ["n/e"] for texts that mean a missing value.'
)


def advice(group: ReasonGroup) -> str:
    """Return what a user can do if most rows of a feed are refused for this reason, or an empty text."""
    if group.kind.endswith((NOT_A_TIME, NOT_A_DATE)):
        form = suggested_format(group.cell.strip("'"))
        example = f'"{form}"' if form else '"%d/%m/%Y %H:%M" (day first), "epoch_s" or "epoch_ms"'
        return f"Times are read from {ACCEPTED_TIMES}. Declare another form in [feed.options]: time_format = {example}."
    if group.kind.endswith(NOT_A_NUMBER):
        return NUMBER_ADVICE
    if group.kind.startswith(OFF_GRID):
        if _GRID_SETTING in group.kind:
            return ""
        return "Set resample of the feed if its periods are finer than the pipeline's, or label if times name the end."
    return "Correct the feed, or the setting that the reason names."


def _example(reason: str, time: str | None, place: str) -> str:
    """Return the cell of a reason, the time of its row and its place. A reason with figures of a series stays whole."""
    cell = reason.partition(_GOT)[2]
    what = cell or (reason if _HAS_FIGURES.match(reason) else "")
    when = f"{_AT}{time}" if time is not None and time != cell.strip("'") else ""
    return " ".join(filter(None, (what, when, place and f"{_IN}{place}")))
