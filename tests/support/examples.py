"""Number of random examples that a test tries: fewer in the quick tier."""

from __future__ import annotations

#: Share of the examples that are tried; `make quick` lowers it.
_share = 1.0


def lower() -> None:
    """Try a fifth of the examples from now on: `make quick` has 90 s for all tests."""
    global _share
    _share = 0.2


def examples(count: int) -> int:
    """Return how many of `count` random examples to try."""
    return max(1, round(count * _share))
