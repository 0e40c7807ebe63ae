"""A store in a folder of a file system."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.schemas import DataError, Missing
from storage.store.interface import Store, check_key

# Errors of a file system that a user can remove: no permission, read-only, no space.
_NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR})


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
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(f"{path} does not exist") from None

    def has(self, key: str) -> bool:
        return self.path(key).exists()

    def remove(self, key: str) -> None:
        self.path(key).unlink(missing_ok=True)

    def move(self, key: str, to: str) -> None:
        self.path(key).rename(self.path(to))

    def copy(self, key: str, to: str) -> None:
        with self.atomic_file(to) as file:
            shutil.copyfile(self.path(key), file)

    def keys(self, prefix: str, pattern: str) -> list[str]:
        paths = (path for path in self.path(prefix).rglob(pattern) if not path.name.startswith("."))
        return sorted(path.relative_to(self.root).as_posix() for path in paths)

    def polars_sources(self, keys: Sequence[str]) -> Sequence[Path]:
        return [self.path(key) for key in keys]
