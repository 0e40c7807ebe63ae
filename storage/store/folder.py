"""A store in a folder of a file system."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from storage.schemas import Missing
from storage.store.interface import Store, check_key


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
        path.parent.mkdir(parents=True, exist_ok=True)
        # The leading dot hides a file that a crash left behind from every listing and glob.
        temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        # The rename survives a power failure only after the folder is flushed as well.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def get(self, key: str) -> bytes:
        path = self.path(key)
        try:
            return path.read_bytes()
        except FileNotFoundError:
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
