"""Series ids as text: the same text for the same id, whatever type a source gives it."""

from __future__ import annotations

import math

import polars as pl

from storage.errors import DataError

_EXACT = 2**53  # From here on, neighbouring integers are the same floating-point number.
_HOW_TO_STORE = "Store the ids as text or integers in the source."
_ROWS_READ = 100_000  # rows that show whether the rows of a series are contiguous
_ROWS_PER_RUN = 16


def to_series_ids(ids: pl.Series) -> pl.Series:
    """Return ids as text without surrounding blanks. A floating-point 101.0 is 101, as in a column with nulls.

    Raises:
        DataError: The type names no series, or a floating-point number is too large to be exact.
    """
    if ids.dtype.is_float():
        return _from_floats(ids)
    if ids.dtype.is_nested() or ids.dtype in (pl.Binary, pl.Duration, pl.Object):
        raise DataError(
            f"column {ids.name!r} has type {ids.dtype}; series_id needs text or numbers. Convert it in the source."
        )
    text = ids.cast(pl.String)
    if ids.dtype.is_decimal():
        return text.str.replace(r"\.0+$", "")
    return _strip(text) if ids.dtype in (pl.String, pl.Categorical, pl.Enum) else text


def to_series_id(cell: object) -> str | None:
    """Return one id as text with its blanks, None for a missing one.

    Raises:
        DataError: A floating-point number is too large to be exact.
    """
    if not isinstance(cell, float):
        return None if cell is None else str(cell)
    if math.isnan(cell):
        return None
    if abs(cell) >= _EXACT:
        raise DataError(f"{cell!r} as an id is a floating-point number that has lost digits. {_HOW_TO_STORE}")
    return str(int(cell)) if cell.is_integer() else repr(cell)


def _from_floats(ids: pl.Series) -> pl.Series:
    known = ids.cast(pl.Float64).fill_nan(None)
    largest = known.abs().max()
    if largest is not None and largest >= _EXACT:  # type: ignore[operator]
        row = int((known.abs() >= _EXACT).arg_true()[0])
        raise DataError(
            f"column {ids.name!r} holds ids as floating-point numbers that have lost digits (first: {known[row]!r} in "
            f"row {row + 1}). {_HOW_TO_STORE}"
        )
    whole = known.cast(pl.Int64, strict=False)
    text = whole.cast(pl.String)
    is_fraction = known != whole
    return text.zip_with(~is_fraction.fill_null(False), known.cast(pl.String)) if is_fraction.any() else text


def distinct_ids(ids: pl.Series) -> frozenset[str]:
    """Return the different ids of a column of text, without null."""
    distinct = ids.rle().struct.field("value") if _are_contiguous(ids) else ids
    return frozenset(distinct.unique().drop_nulls().to_list())


def _strip(ids: pl.Series) -> pl.Series:
    """Return the ids without surrounding blanks."""
    if not _are_contiguous(ids):
        return ids.str.strip_chars()
    names = ids.rle().struct.field("value")
    return ids.str.strip_chars() if (names != names.str.strip_chars()).any() else ids


def _are_contiguous(ids: pl.Series) -> bool:
    """Return whether the rows of a series are mostly contiguous, so that one row per run is much less than all rows."""
    head = ids.head(_ROWS_READ)
    return len(head.rle()) * _ROWS_PER_RUN <= len(head)
