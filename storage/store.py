"""A store: one folder, its paths, and writes that are whole or absent."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from storage.layout import HISTORY
from storage.schemas import DataError

#: Fast to write, and to read one series of.
_PARQUET: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "row_group_size": 24_000}


class Store:
    """The folder that `store` of the pipeline file names. Every path below it is made here or in `layout`."""

    def __init__(self, uri: str) -> None:
        if "://" in uri:
            raise DataError(f"store {uri!r}: only folders are supported as stores so far; give a folder")
        self.root = Path(uri)

    def path(self, key: str) -> Path:
        """The place of `key` ('a/b.parquet'). Raises DataError for a key that would leave the store."""
        place = self.root / key
        if ".." in Path(key).parts or Path(key).is_absolute():
            raise DataError(f"{key!r} would lie outside the store {self.root}")
        return place

    def put(self, key: str, content: bytes) -> Path:
        """Write `content` whole: beside its place, flushed to the disk, then renamed over it."""
        place = self.path(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        # The leading dot hides an orphan of a crash from every listing and glob.
        temporary = place.parent / f".{place.name}.{secrets.token_hex(6)}.tmp"
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
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
        return place

    def put_parquet(self, key: str, frame: pl.DataFrame, metadata: dict[str, str] | None = None) -> Path:
        """Write `frame` as Parquet."""
        buffer = io.BytesIO()
        frame.write_parquet(buffer, **_PARQUET, metadata=metadata)
        return self.put(key, buffer.getvalue())

    def get(self, key: str) -> bytes:
        """The bytes at `key`. Raises DataError where there are none."""
        try:
            return self.path(key).read_bytes()
        except FileNotFoundError:
            raise DataError(f"{self.path(key)} does not exist") from None

    def remove(self, key: str) -> None:
        """Delete what is at `key`; nothing there is no error."""
        self.path(key).unlink(missing_ok=True)

    def has(self, key: str) -> bool:
        """Whether there is something at `key`."""
        return self.path(key).exists()

    def keys(self, prefix: str, pattern: str) -> list[str]:
        """Keys under `prefix` whose last part matches the glob `pattern`, sorted; never a temporary."""
        folder = self.path(prefix)
        found = (place for place in folder.rglob(pattern) if not place.name.startswith("."))
        return sorted(place.relative_to(self.root).as_posix() for place in found)


def parquet_of(blocks: Iterable[pl.DataFrame], schema: dict[str, pl.DataType], metadata: dict[str, str]) -> bytes:
    """One Parquet file of all `blocks`, the same however they are cut; one of them at a time is held."""

    def source(*_: object) -> Iterator[pl.DataFrame]:
        for block in blocks:
            yield block.select(pl.col(name).cast(dtype) for name, dtype in schema.items())

    buffer = io.BytesIO()
    register_io_source(source, schema=schema).sink_parquet(buffer, **_PARQUET, metadata=metadata)
    return buffer.getvalue()


class Replay(Store):
    """A store of its own for models and forecasts of the past, over the history of `source`."""

    def __init__(self, uri: str, source: Store) -> None:
        super().__init__(uri)
        self._source = source

    def _of(self, key: str) -> Store | None:
        return self._source if key.split("/")[0] == HISTORY else None

    def path(self, key: str) -> Path:
        """The place of `key`; the history's is the source's."""
        source = self._of(key)
        return source.path(key) if source else super().path(key)

    def keys(self, prefix: str, pattern: str) -> list[str]:
        """Keys under `prefix`; the history's are the source's."""
        source = self._of(prefix)
        return source.keys(prefix, pattern) if source else super().keys(prefix, pattern)
