"""Listener to the stages of this process's flow run, which shows their progress to people.

Without a listener, progress is discarded. A worker of Prefect has none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from flows.stages.progress import Progress

_PAUSE = 0.1  # seconds between two lines about the same activity
_ACTIVITY, _SHARE = "progress", "share"  # keys of a line


class Listener(Protocol):
    """Receiver of what the stages of a flow run do, called from several threads."""

    def start(self, stage: str) -> None:
        """Take note that a stage starts."""

    def advance(self, stage: str, activity: str, share: float) -> None:
        """Take note of the progress of a stage, 0 to 1."""

    def end(self, stage: str, error: str | None) -> None:
        """Take note that a stage ended, with its error if it failed."""


class Silent:
    """A listener that discards everything."""

    def start(self, stage: str) -> None:
        """Discard the start."""

    def advance(self, stage: str, activity: str, share: float) -> None:
        """Discard the progress."""

    def end(self, stage: str, error: str | None) -> None:
        """Discard the end."""


# A process runs one flow run. A context variable would not reach the threads that relay a stage's lines.
_listener: Listener = Silent()


def current() -> Listener:
    """Return the listener of this process."""
    return _listener


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have `listener` receive what the stages do."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def progress_writer(stream: IO[str], clock: Callable[[], float] = time.monotonic) -> Progress:
    """Return the progress callback of a stage process: it writes lines that `read_progress` reads.

    A stage may report each of many thousand steps. Lines about the same activity are at least 0.1 s apart.
    """
    last = ("", -_PAUSE)

    def write(activity: str, share: float) -> None:
        nonlocal last
        now = clock()
        if activity != last[0] or share >= 1.0 or now - last[1] >= _PAUSE:
            last = (activity, now)
            stream.write(json.dumps({_ACTIVITY: activity, _SHARE: round(share, 4)}) + "\n")
            stream.flush()

    return write


def read_progress(line: str) -> tuple[str, float] | None:
    """Return activity and share of a line of `progress_writer`, None for any other line."""
    if not line.startswith(f'{{"{_ACTIVITY}": '):
        return None
    try:
        fields = json.loads(line)
        return str(fields[_ACTIVITY]), float(fields[_SHARE])
    except (ValueError, KeyError, TypeError):
        return None
