"""Format of numbers on the pages: true minus signs, grouped thousands, and a dash for a missing value."""

from __future__ import annotations

import math
from collections.abc import Iterable

_MOST_DECIMALS = 4

#: Text for a missing value.
MISSING = "\N{EN DASH}"


def format_percent(share: float | None, digits: int = 0) -> str:
    """Return a share as percent, for example `71%`."""
    return MISSING if share is None or share != share else _with_sign(f"{100 * share:.{digits}f}%")


def format_number(value: float | None, decimals: int | None = None) -> str:
    """Return a number with grouped thousands, for example `12,345`, `801.9` or `4.500`.

    Args:
        value: The number.
        decimals: Number of decimals. Without it, the number has four significant digits and all its whole digits.
    """
    if value is None or value != value:
        return MISSING
    return _with_sign(f"{value:,.{_decimals(abs(value)) if decimals is None else decimals}f}")


def column_decimals(values: Iterable[float | None]) -> int:
    """Return the number of decimals for all numbers of one column, so that their digits align.

    The largest has four significant digits. It has more, with two decimals at most, if the smallest otherwise had less
    than three.
    """
    sizes = [abs(value) for value in values if value is not None and math.isfinite(value) and value]
    if not sizes:
        return 0
    for_smallest = 2 - math.floor(math.log10(min(sizes)))
    return max(_decimals(max(sizes)), min(for_smallest, 2))


def _decimals(size: float) -> int:
    """Return the number of decimals with which a number has four significant digits."""
    return next((count for limit, count in ((1000, 0), (100, 1), (10, 2), (1, 3)) if size >= limit), _MOST_DECIMALS)


def format_ratio(value: float | None) -> str:
    """Return a ratio with three decimals, for example `0.203`."""
    return MISSING if value is None or value != value else _with_sign(f"{value:.3f}")


def format_difference(value: float | None, decimals: int | None = None) -> str:
    """Return a number with its sign, for example `+12.50`."""
    text = format_number(value, decimals)
    return f"+{text}" if value is not None and value > 0 and text != MISSING else text


def format_change(new: float, old: float) -> str:
    """Return the change from `old` to `new` in percent of `old`, for example `+3.2%`; a dash if it is undefined.

    Where the old value is not positive, as a negative price, the change is a difference in the unit of the values.
    """
    if new != new or old != old:
        return MISSING
    if old <= 0:
        difference = format_number(new - old)
        return difference if difference.startswith("\N{MINUS SIGN}") else f"+{difference}"
    return _with_sign(f"{100 * (new / old - 1):+.1f}%").replace("+0.0%", "0.0%")


def _with_sign(text: str) -> str:
    """Return a number's text with a true minus sign, and without any sign if it is rounded to zero."""
    is_zero = not any(digit in text for digit in "123456789")
    return text.replace("-", "" if is_zero else "\N{MINUS SIGN}")
