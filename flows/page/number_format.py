"""Format of numbers on the pages: true minus signs, grouped thousands, and a dash for a missing value."""

from __future__ import annotations

#: Text for a missing value.
MISSING = "\N{EN DASH}"


def format_percent(share: float | None, digits: int = 0) -> str:
    """Return a share as percent, for example `71%`."""
    return MISSING if share is None or share != share else _with_sign(f"{100 * share:.{digits}f}%")


def format_number(value: float | None) -> str:
    """Return a number with four significant digits and all its whole digits: `12,345`, `801.9`, `4.500`."""
    if value is None or value != value:
        return MISSING
    size = abs(value)
    decimals = next((count for limit, count in ((1000, 0), (100, 1), (10, 2), (1, 3)) if size >= limit), 4)
    return _with_sign(f"{value:,.{decimals}f}")


def format_ratio(value: float | None) -> str:
    """Return a ratio with three decimals, for example `0.203`."""
    return MISSING if value is None or value != value else _with_sign(f"{value:.3f}")


def format_difference(value: float | None) -> str:
    """Return a number with its sign, for example `+12.50`."""
    text = format_number(value)
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
