"""A store in a folder of a file system."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path

from storage.schemas import DataError, Missing, Unreadable
from storage.store import checksum
from storage.store.interface import Store, check_key
from storage.store.lock import exclusive

# Errors of a file system that a user can remove: no permission, read-only, no space, a folder in place of a file.
_NOT_WRITABLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR, errno.EIO}
)
_ABANDONED = 86_400.0  # seconds. No write takes a day.
_ABSENT = (FileNotFoundError, NotADirectoryError)


class FolderStore(Store):
    """A store whose keys are paths below the folder `root`."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def path(self, key: str) -> Path:
        """Return the path of the file at `key`."""
        return self.root / check_key(key, self.root)

    def uri(self, key: str) -> str:
        return str(self.path(key))

    def put(self, key: str, content: bytes) -> str:
        with self.atomic_file(key) as file:
            file.write_bytes(content)
        return self.uri(key)

    @contextmanager
    def atomic_file(self, key: str) -> Iterator[Path]:
        """Yield a temporary file in the same folder. It is flushed to the disk and then renamed."""
        path = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._not_writable(error) from None
        # The leading dot hides a file that a crash left behind from every listing and glob.
        temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
                raise self._not_writable(error) from None
            raise
        # The rename survives a power failure only after the folder is flushed as well.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        _remove_abandoned(path)

    def _not_writable(self, error: OSError) -> DataError:
        return DataError(
            f"the store {self.root} cannot be written: {error.strerror}. Choose another folder as pipeline.store, or "
            "give this user the permission and the space to write there"
        )

    def probe(self) -> None:
        folder = self.root
        while not folder.exists():
            folder = folder.parent
        super().probe()
        # The check of a pipeline leaves no folder behind.
        created = self.root
        while created != folder:
            created.rmdir()
            created = created.parent

    def get(self, key: str) -> bytes:
        path = self.path(key)
        with self._translate_read_errors(path):
            with checksum.open_regular_file(path) as file:
                return file.read()

    @contextmanager
    def _translate_read_errors(self, path: Path) -> Iterator[None]:
        try:
            yield
        except _ABSENT:
            raise Missing(f"{path} does not exist") from None
        except OSError as error:
            raise Unreadable(
                f"{path} cannot be read: {error.strerror or error}; give this user the permission to read it, or "
                "remove the cause"
            ) from None

    @contextmanager
    def _translate_write_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._not_writable(error) from None

    def has(self, key: str) -> bool:
        path = self.path(key)
        try:
            with self._translate_read_errors(path):
                path.stat()
        except Missing:
            return False
        return True

    def remove(self, key: str) -> None:
        with self._translate_write_errors(), suppress(*_ABSENT):
            self.path(key).unlink()

    def move(self, key: str, to: str) -> None:
        with self._translate_write_errors():
            self.path(key).rename(self.path(to))

    def copy(self, key: str, to: str) -> None:
        with self.atomic_file(to) as file:
            shutil.copyfile(self.path(key), file)

    def copy_chosen(self, to: str, choose: Callable[[], str | None]) -> None:
        with self._locked(to):
            key = choose()
            if key is not None:
                self.copy(key, to)

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> None:
        with self._locked(key):
            try:
                content = self.get(key)
            except Missing:
                content = None
            self.put(key, change(content))

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        try:
            with exclusive(self.path(key)):
                yield
        except OSError as error:
            raise self._not_writable(error) from None

    def keys(self, prefix: str, pattern: str) -> list[str]:
        found: list[str] = []
        folder = self.path(prefix)

        def stop(error: OSError) -> None:
            # Another process may remove a folder meanwhile. A folder that cannot be listed is not an empty one.
            if not isinstance(error, _ABSENT):
                raise error

        with self._translate_read_errors(folder):
            for parent, _, names in os.walk(folder, onerror=stop):
                matches = [
                    name for name in names
                    if fnmatchcase(name, pattern) and not name.startswith(".") and _is_text(name)
                ]  # fmt: skip
                if matches:
                    key = Path(parent).relative_to(self.root).as_posix()
                    found += [f"{key}/{name}" for name in matches]
        return sorted(found)

    def polars_sources(self, keys: Sequence[str]) -> Sequence[Path]:
        paths = [self.path(key) for key in keys]
        for path in paths:
            with self._translate_read_errors(path):
                checksum.verify_file(path)
        return paths


def _is_text(name: str) -> bool:
    """Return whether a name is UTF-8. Another one is of no file that this store has written, and Polars refuses it."""
    return name == name.encode(errors="ignore").decode()


def _remove_abandoned(written: Path) -> None:
    """Remove the temporary files beside a written file that are a day older, of processes that were killed."""
    with suppress(OSError), os.scandir(written.parent) as entries:
        oldest = written.stat().st_mtime - _ABANDONED
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(".tmp") and entry.stat().st_mtime < oldest:
                Path(entry.path).unlink(missing_ok=True)
