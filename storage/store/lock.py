"""A lock for one file of a folder, so that only one process reads and replaces it at a time.

The lock is `flock` on a hidden file beside it. The kernel releases it when its owner ends, in whichever way, so that
no lock outlives its owner. The lock file names its owner for the message of a process that waits too long.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.schemas import DataError

logger = logging.getLogger(__name__)

_LIMIT = 30.0  # seconds; a lock is held for as long as it takes to copy one file
_WAIT = 0.02  # seconds
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


@contextmanager
def exclusive(path: Path, limit: float = _LIMIT) -> Iterator[None]:
    """Hold the lock of the file at `path`, which need not exist, until the block ends.

    Raises:
        DataError: Another process holds the lock for longer than `limit` seconds.
        OSError: The lock file cannot be written.
    """
    lock = path.parent / f".{path.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(lock, limit)
    try:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def _acquire(lock: Path, limit: float) -> int:
    end = time.monotonic() + limit
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The owner before removed the file that it had locked. Another process may have locked a new one.
            if _is_at(lock, descriptor):
                return descriptor
        except OSError as error:
            if error.errno in _NO_LOCKS:
                logger.debug("The file system of %s has no locks. Concurrent runs may overwrite each other.", lock)
                return descriptor
            if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                os.close(descriptor)
                raise
        if time.monotonic() > end:
            owner = os.pread(descriptor, 200, 0).decode("utf-8", "replace") or "another process"
            age = time.time() - os.fstat(descriptor).st_mtime
            os.close(descriptor)
            raise DataError(f"{lock}: {owner} has held this lock for {age:.0f} s. End that process or wait for it.")
        os.close(descriptor)
        time.sleep(_WAIT * (0.5 + random.random()))


def _is_at(lock: Path, descriptor: int) -> bool:
    """Return whether the open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), lock.stat())
    except FileNotFoundError:
        return False
