"""Background processes that outlive the command that starts them. A file with the process number identifies each."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deployments.installation import ROOT, InstallationError

_GRACE = 15.0  # seconds between SIGTERM and SIGKILL


@dataclass(frozen=True)
class Daemon:
    """A background process of an installation.

    Attributes:
        name: Name of its files, `<name>.pid` and `<name>.log` in `folder`.
        folder: Folder of its files.
        command: Its command line. A process is recognised by these words in its command line.
    """

    name: str
    folder: Path
    command: tuple[str, ...]

    @property
    def log(self) -> Path:
        """File with its output."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Number of its process, None if it does not run."""
        try:
            pid = int(self._file.read_text())
            words = (Path("/proc") / str(pid) / "cmdline").read_bytes().decode().split("\0")
        except (OSError, ValueError):
            return None
        # After a restart of the machine, another process may have this number.
        return pid if " ".join(self.command[1:]) in " ".join(words) else None

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def start(self, environment: dict[str, str]) -> bool:
        """Start it unless it runs, and return whether it was started."""
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

    def wait(self, is_ready: Callable[[], bool], limit: float) -> None:
        """Wait until it is ready.

        Args:
            is_ready: Returns whether it is ready.
            limit: Seconds after which it should be.

        Raises:
            InstallationError: It ended, or was not ready in time. The message holds the end of its log.
        """
        end = time.monotonic() + limit
        while not is_ready():
            # Sleep before the first look: a process has no command line at the moment it begins.
            time.sleep(0.5)
            if self.pid is None or time.monotonic() > end:
                last = self.log.read_text(errors="replace")[-1500:]
                raise InstallationError(f"the {self.name} did not start ({self.log}):\n{last}")

    def stop(self) -> bool:
        """Stop it and its descendants, by SIGTERM and then by SIGKILL, and return whether it ran."""
        pid = self.pid
        if pid is None:
            self._file.unlink(missing_ok=True)
            return False
        # Find the descendants first: a worker that gets SIGTERM ends, but its flow runs go on.
        family = [pid, *find_descendants(pid)]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for member in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member, number)
            end = time.monotonic() + _GRACE
            while any(is_alive(member) for member in family) and time.monotonic() < end:
                time.sleep(0.1)
        self._file.unlink(missing_ok=True)
        return True


def is_alive(pid: int) -> bool:
    """Return whether a process runs. A zombie, which has ended but whose parent has not waited for it, does not."""
    try:
        return _read_status(pid)[0] != "Z"
    except OSError:
        return False


def find_descendants(pid: int) -> list[int]:
    """Return the children of a process, their children, and so on."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int(_read_status(int(folder.name))[1])
    descendants, newest = [], [pid]
    while newest:
        newest = [child for child, parent in parents.items() if parent in newest]
        descendants += newest
    return descendants


def _read_status(pid: int) -> list[str]:
    """Return the fields of `/proc/<pid>/stat` after the name: state, parent and so on. The name may hold brackets."""
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
