"""A pseudo-terminal in this process, and what a user sees on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_REDRAWN = re.compile(r"\r\x1b\[2K|\x1b\[1A\x1b\[2K")


@dataclass
class PseudoTerminal:
    """A stream that is a terminal, and everything that was written to it."""

    stream: IO[str]
    raw: str = ""
    parts: list[bytes] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """Every line that was drawn, without control sequences, each once."""
        drawn = _CONTROL.sub("", _REDRAWN.sub("\n", self.raw)).replace("\r", "")
        return list(dict.fromkeys(line.rstrip() for line in drawn.split("\n") if line.strip()))


@contextmanager
def pseudo_terminal(columns: int = 80) -> Iterator[PseudoTerminal]:
    """Yield a terminal of that width. Its text is complete after the block."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    terminal = PseudoTerminal(os.fdopen(slave, "w", encoding="utf-8", buffering=1))

    def read() -> None:
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # the other side is closed
                return
            if not part:
                return
            terminal.parts.append(part)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield terminal
    finally:
        terminal.stream.close()
        reader.join(timeout=5)
        os.close(master)
        terminal.raw = b"".join(terminal.parts).decode()
