"""Where a library that panics speaks to the terminal on its own, the user shall read the one error only.

Rust prints a panic to the standard error before Python hears of it, and nothing asks it not to. What comes while a
file is read is therefore held back, and given out afterwards without the panics; nothing else is lost.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

_STDERR = 2
_ONE_AT_A_TIME = threading.Lock()
# From "thread ... panicked at" over the message and the trace, if one is wanted, to the note that ends it.
_PANIC = re.compile(rb"\n?^thread '[^\n]*panicked at .*?^note: [^\n]*\n?", re.DOTALL | re.MULTILINE)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold back what this process writes to its standard error; after a PanicException, drop the panics from it."""
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as held:
        try:
            terminal = os.dup(_STDERR)
        except OSError:  # a service may run without one
            terminal = -1
        if terminal < 0:
            yield
            return
        panicked = False
        _flush()
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        except pl.exceptions.PanicException:
            panicked = True
            raise
        finally:
            _flush()
            os.dup2(terminal, _STDERR)
            os.close(terminal)
            held.seek(0)
            said = held.read()
            _give(_PANIC.sub(b"", said) if panicked else said)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


def _give(said: bytes) -> None:
    while said:
        said = said[os.write(_STDERR, said) :]
