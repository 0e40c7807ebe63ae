"""Removal of Rust's panic text from the standard error of a command that reads files in its own process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flows.stage_process.panics import without_panics


@contextmanager
def quiet_panics() -> Iterator[None]:
    """Keep the text of panics out of standard error. Every other line passes.

    Rust writes to the file descriptor, so it is replaced by a pipe to a thread that filters. Python's own stream keeps
    the terminal, which a progress bar needs.
    """
    try:
        original = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    receiver, sender = os.pipe()
    os.dup2(sender, 2)
    os.close(sender)
    relay = threading.Thread(target=_relay, args=(receiver, original), daemon=True)
    relay.start()
    stream, own_stream = sys.stderr, None
    if stream is sys.__stderr__ and stream is not None:
        stream.flush()
        own_stream = os.fdopen(os.dup(original), "w", buffering=1, encoding=stream.encoding, errors=stream.errors)
        sys.stderr = own_stream
    try:
        yield
    finally:
        sys.stderr = stream
        if own_stream is not None:
            own_stream.close()
        # This closes the pipe, so the thread ends.
        os.dup2(original, 2)
        relay.join(timeout=5)
        os.close(original)


def _relay(receiver: int, original: int) -> None:
    with os.fdopen(receiver, encoding="utf-8", errors="replace") as lines:
        for line in without_panics(lines):
            os.write(original, line.encode())
