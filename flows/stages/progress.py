"""How a stage says how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

#: Told what is going on and the share of it that is done, 0 to 1.
Progress = Callable[[str, float], None]


def no_progress(what: str, done: float) -> None:
    """Nobody listens."""
