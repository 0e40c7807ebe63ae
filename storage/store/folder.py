"""Store in a folder of a file system."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from storage.schemas import Missing
from storage.store.interface import Store, checked_key


class FolderStore(Store):
    """A store on a disk."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def path(self, key: str) -> Path:
        """The place of `key`."""
        return self.root / checked_key(key, self.root)

    def uri(self, key: str) -> str:
        return str(self.path(key))

    def put(self, key: str, content: bytes) -> str:
        with self.atomic_file(key) as file:
            file.write_bytes(content)
        return self.uri(key)

    @contextmanager
    def atomic_file(self, key: str) -> Iterator[Path]:
        """Beside its place, flushed to the disk, then renamed over it."""
        place = self.path(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        # The leading dot hides an orphan of a crash from every listing and glob.
        temporary = place.parent / f".{place.name}.{secrets.token_hex(6)}.tmp"
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(place)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def get(self, key: str) -> bytes:
        try:
            return self.path(key).read_bytes()
        except FileNotFoundError:
            raise Missing(f"{self.path(key)} does not exist") from None

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
        folder = self.path(prefix)
        found = (place for place in folder.rglob(pattern) if not place.name.startswith("."))
        return sorted(place.relative_to(self.root).as_posix() for place in found)

    def polars_sources(self, keys: Sequence[str]) -> Sequence[Path]:
        return [self.path(key) for key in keys]
