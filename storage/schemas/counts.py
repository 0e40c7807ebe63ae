"""Numbers of things in messages, with the noun in the singular or the plural."""

from __future__ import annotations


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun, such as "1 forecast" or "1,200 forecasts".

    Args:
        number: The number.
        singular: The noun for one.
        plural: The noun for several. Default: the singular with an s.
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
