"""Removal of Rust's panic text from the standard error of a stage process.

Polars panics over some damaged files. The stage turns the panic into one error that names the file. By then
Rust has printed its message and stack to standard error, which Python cannot prevent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_START = re.compile(r"thread '.*' (\(\d+\) )?panicked at ")
# A panic ends with a note. Only the first one of a process has it if RUST_BACKTRACE is not set: then the next log line
# (a JSON object), the next panic or an empty line ends it.
_NOTE = "note: "
_NEXT = ("{", "Traceback ")


def without_panics(lines: Iterable[str]) -> Iterator[str]:
    """Yield `lines` except those that belong to a panic."""
    is_panic = False
    for line in lines:
        if _START.match(line):
            is_panic = True
        elif is_panic and (not line.strip() or line.startswith(_NEXT)):
            is_panic = False
            yield line
        elif is_panic:
            is_panic = not line.startswith(_NOTE)
        else:
            yield line
