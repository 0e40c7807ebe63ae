"""Standard streams of the command, which a caller may have closed, and whose disk may be full."""

from __future__ import annotations

import os
import sys


def open_closed() -> None:
    """Open what the caller has closed of standard input, output and error, as /dev/null.

    The next file that is opened would get the number of a closed stream, and a library's message would be written into
    it. Python has None in place of a closed stream.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)


class EndNow(SystemExit):
    """End of the command that does not wait for its threads."""


def end_now(end: EndNow) -> None:
    """End the process without waiting for its threads, once everything printed is written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            give_up_output()
    os._exit(int(str(end.code)))


def give_up_output() -> None:
    """Write no further output: standard output is /dev/null from now on, also for what Python still has to write."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
