"""Numbers that a feed writes as text: decimal and thousands marks, and texts for missing values."""

from __future__ import annotations

import re

import polars as pl

from model.checks.text_format import TextFormat

# Blanks that separate thousands: also the no-break space and the narrow one.
_BLANKS = " \u00a0\u202f"
_SAMPLE = 1000  # Cells that must look like thousands before the whole column is searched.
_FEWEST = 10  # Fewer cells are no evidence.
_THOUSANDS_DOTS = r"^[+-]?[1-9]\d{0,2}\.\d{3}$"


def value_texts(column: pl.Series, form: TextFormat) -> pl.Series:
    """Return the cells of a text column without blanks at their ends, empty where the feed means a missing value."""
    text = column.str.strip_chars()
    if not form.missing:
        return text
    return text.set(text.is_in(list(form.missing)).fill_null(False), "")


def parse_numbers(text: pl.Series, form: TextFormat) -> pl.Series:
    """Return the numbers of texts from `value_texts`, null where a text is empty, NaN or no number of this form."""
    if form.decimal_mark == "." and form.thousands is None:
        return text.cast(pl.Float64, strict=False).fill_nan(None)
    plain = text.set(~text.str.contains(_pattern(form)).fill_null(False), None)
    if form.thousands is not None:
        plain = plain.str.replace_all(f"[{_marks(form.thousands)}]", "")
    return plain.str.replace(form.decimal_mark, ".", literal=True).cast(pl.Float64, strict=False)


def unreadable_numbers(text: pl.Series, numbers: pl.Series) -> pl.Series:
    """Return which texts from `value_texts` are neither a number nor a missing value (empty or NaN)."""
    return numbers.is_null() & (text != "") & (text.str.to_lowercase() != "nan")


def count_thousands_dots(column: pl.Series) -> int:
    """Return how many texts look like 9.000 for nine thousand: their points all stand before three last digits.

    The count is 0 if a text with a point has another form, such as 9.5 or 0.125.
    """
    # Columns of another form are the rule, and a sample shows it.
    if not _is_thousands(column.head(_SAMPLE)):
        return 0
    return int(column.str.contains(".", literal=True).sum() or 0) if _is_thousands(column) else 0


def _is_thousands(column: pl.Series) -> bool:
    dotted = column.filter(column.str.contains(".", literal=True).fill_null(False)).str.strip_chars()
    return len(dotted) >= min(_FEWEST, len(column)) > 0 and bool(dotted.str.contains(_THOUSANDS_DOTS).all())


def _pattern(form: TextFormat) -> str:
    """Return the regular expression of a number. Thousands are grouped completely or not at all."""
    digits = r"\d+"
    if form.thousands is not None:
        digits = rf"(?:\d{{1,3}}(?:[{_marks(form.thousands)}]\d{{3}})+|\d+)"
    mark = re.escape(form.decimal_mark)
    return rf"^[+-]?(?:{digits}(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?$"


def _marks(thousands: str) -> str:
    return _BLANKS if thousands == " " else re.escape(thousands)
