"""A store: keys in, bytes and tables out; what is written is whole or absent. A folder is one, an S3 bucket another."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from storage.schemas import DataError
from storage.store.parquet import encode_parquet


class Store(ABC):
    """What `store` of the pipeline file names. A key is a path within it ('a/b.parquet'); `layout` makes them."""

    @abstractmethod
    def uri(self, key: str) -> str:
        """Where `key` lies, as people write it. Raises DataError for a key that would leave the store."""

    @abstractmethod
    def put(self, key: str, content: bytes) -> str:
        """Write `content` whole or not at all, whatever becomes of the writer; returns its place."""

    @abstractmethod
    def atomic_file(self, key: str) -> AbstractContextManager[Path]:
        """A file to write what becomes the content of `key`, whole, once the block has ended without an error."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The bytes at `key`. Raises Missing where there are none."""

    def get_all(self, keys: Sequence[str]) -> list[bytes]:
        """The bytes at each of `keys`. Raises Missing where one has none."""
        return [self.get(key) for key in keys]

    @abstractmethod
    def has(self, key: str) -> bool:
        """Whether there is something at `key`."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Delete what is at `key`; nothing there is no error."""

    @abstractmethod
    def move(self, key: str, to: str) -> None:
        """Give what is at `key` another key. A crash leaves it at `key`, at `to` or at both."""

    @abstractmethod
    def copy(self, key: str, to: str) -> None:
        """Write what is at `key` to another key as well, whole or not at all."""

    @abstractmethod
    def keys(self, prefix: str, pattern: str) -> list[str]:
        """Keys under the folder `prefix` whose last part matches the glob `pattern`, sorted; never a temporary."""

    @abstractmethod
    def polars_sources(self, keys: Sequence[str]) -> Sequence[Path | io.BytesIO]:
        """What Polars reads `keys` from. May raise Missing."""

    def put_parquet(self, key: str, frame: pl.DataFrame, metadata: dict[str, str] | None = None) -> str:
        """Write `frame` as `encode_parquet` encodes it; returns its place."""
        return self.put(key, encode_parquet(frame, metadata))

    def scan(self, keys: Sequence[str], **options: Any) -> pl.LazyFrame:
        """The Parquet files at `keys`, one after the other; `options` are of Polars' `scan_parquet`.

        Where one is not there this raises Missing, or reading the frame raises FileNotFoundError.
        """
        sources: Any = self.polars_sources(keys)
        return pl.scan_parquet(sources, glob=False, hive_partitioning=False, **options)

    def read_metadata(self, key: str) -> dict[str, str]:
        """The key-value metadata of the Parquet file at `key`."""
        (source,) = self.polars_sources([key])
        return pl.read_parquet_metadata(source)


def checked_key(key: str, store: object) -> str:
    """`key`, which lies in `store`. Raises DataError for one that would not."""
    if ".." in PurePosixPath(key).parts or PurePosixPath(key).is_absolute():
        raise DataError(f"{key!r} would lie outside the store {store}")
    return key
