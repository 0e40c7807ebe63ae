"""Numbers as the page writes them: true minus signs, thousands set apart, a dash where there is nothing to tell."""

from __future__ import annotations

_NOTHING = "\N{EN DASH}"


def percent(share: float | None, digits: int = 0) -> str:
    """`71%`."""
    return _NOTHING if share is None or share != share else _sign(f"{100 * share:.{digits}f}%")


def figure(value: float | None) -> str:
    """Four significant digits, and never fewer than the whole ones: `12,345`, `801.9`, `4.500`."""
    if value is None or value != value:
        return _NOTHING
    size = abs(value)
    places = next((p for limit, p in ((1000, 0), (100, 1), (10, 2), (1, 3)) if size >= limit), 4)
    return _sign(f"{value:,.{places}f}")


def ratio(value: float | None) -> str:
    """`0.203`."""
    return _NOTHING if value is None or value != value else _sign(f"{value:.3f}")


def _sign(text: str) -> str:
    nothing = not any(digit in text for digit in "123456789")
    return text.replace("-", "" if nothing else "\N{MINUS SIGN}")
