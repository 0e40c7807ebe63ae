"""Progress of a stage, reported to a callback."""

from __future__ import annotations

from collections.abc import Callable

#: Callback that receives the current activity and the share of the stage that is done, 0 to 1.
Progress = Callable[[str, float], None]


def no_progress(activity: str, done: float) -> None:
    """Discard the progress."""
