"""A process that outlives its starter, known by a file with its number."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deployments.place import ROOT, BringUpError

_GRACE = 15.0  # seconds between SIGTERM and SIGKILL


@dataclass(frozen=True)
class Daemon:
    """One of our long-running processes.

    Attributes:
        name: of its files, `<name>.pid` and `<name>.log` in `folder`.
        command: what runs; only a process with these words in its command line is taken for it.
    """

    name: str
    folder: Path
    command: tuple[str, ...]

    @property
    def log(self) -> Path:
        """What it writes."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its process, None if it does not run."""
        try:
            pid = int(self._file.read_text())
            words = (Path("/proc") / str(pid) / "cmdline").read_bytes().decode().split("\0")
        except (OSError, ValueError):
            return None
        # After a restart of the machine the number may be another's.
        return pid if " ".join(self.command[1:]) in " ".join(words) else None

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def start(self, environment: dict[str, str]) -> bool:
        """Start it if it does not run; whether it had to be."""
        if self.pid is not None:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=environment,
                start_new_session=True,
            )  # fmt: skip
        self._file.write_text(str(process.pid))
        return True

    def wait(self, ready: Callable[[], bool], limit: float) -> None:
        """Until `ready`. Raises BringUpError with the end of the log if it ends or is not within `limit` seconds."""
        end = time.monotonic() + limit
        while not ready():
            # First, since a process has no command line yet at the moment it begins.
            time.sleep(0.5)
            if self.pid is None or time.monotonic() > end:
                last = self.log.read_text(errors="replace")[-1500:]
                raise BringUpError(f"{self.name} did not come up ({self.log}):\n{last}")

    def stop(self) -> bool:
        """End it and all that it started, gently first; whether it ran."""
        pid = self.pid
        if pid is None:
            self._file.unlink(missing_ok=True)
            return False
        # Looked up first: a worker leaves its flow runs behind when it is told to stop.
        family = [pid, *descendants(pid)]
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for member in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member, sign)
            end = time.monotonic() + _GRACE
            while any(alive(member) for member in family) and time.monotonic() < end:
                time.sleep(0.1)
        self._file.unlink(missing_ok=True)
        return True


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return _fields(pid)[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """The children of a process, theirs, and so on."""
    parents: dict[int, int] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(place.name)] = int(_fields(int(place.name))[1])
    found, new = [], [pid]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def _fields(pid: int) -> list[str]:
    """State, parent and so on of `/proc/<pid>/stat`; the name before them may hold blanks and brackets."""
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
