"""The interface of a store, in which every write is atomic: a reader sees the old content or the new, never a part."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from storage.schemas import DataError
from storage.store.parquet import encode_parquet

_PROBE = "probe"  # key that tests whether the store can be written


class Store(ABC):
    """The folder or bucket that `store` names in the pipeline file.

    A key is a path within the store, such as 'a/b.parquet'. Only `storage.layout` builds keys.
    """

    @abstractmethod
    def uri(self, key: str) -> str:
        """Return the full path or uri of `key`, for messages and reports.

        Raises:
            DataError: The key leads out of the store.
        """

    @abstractmethod
    def put(self, key: str, content: bytes) -> str:
        """Write `content` atomically, even if the process is killed, and return the uri."""

    @abstractmethod
    def atomic_file(self, key: str) -> AbstractContextManager[Path]:
        """Yield the path of a temporary file. It becomes the content of `key` if the block ends without an error."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Return the content of `key`. Raises Missing if there is none, and Unreadable if it cannot be read."""

    def get_all(self, keys: Sequence[str]) -> list[bytes]:
        """Return the content of each key. Raises Missing if one of them has none."""
        return [self.get(key) for key in keys]

    @abstractmethod
    def has(self, key: str) -> bool:
        """Return whether `key` has content."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Delete the content of `key`, if there is any."""

    def probe(self) -> None:
        """Write a small file and remove it again.

        Raises:
            DataError: The store cannot be written.
        """
        self.put(_PROBE, b"")
        self.remove(_PROBE)

    @abstractmethod
    def move(self, key: str, to: str) -> None:
        """Rename `key` to `to`. A crash leaves the content at `key`, at `to` or at both."""

    @abstractmethod
    def copy(self, key: str, to: str) -> None:
        """Copy the content of `key` to `to`, atomically."""

    @abstractmethod
    def copy_chosen(self, to: str, choose: Callable[[], str | None]) -> None:
        """Copy the content of the key that `choose` returns to `to`, or nothing if it returns None.

        No other process replaces the content of `to` by this method or by `update` between the call of `choose` and
        the copy. `choose` is called again if one has.
        """

    @abstractmethod
    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> None:
        """Replace the content of `key` by what `change` returns for it, None if there is none (compare-and-swap).

        No other process replaces it meanwhile by this method. `change` is called again if one has.
        """

    @abstractmethod
    def keys(self, prefix: str, pattern: str) -> list[str]:
        """Return the sorted keys in the folder `prefix` and below whose last part matches the glob `pattern`.

        Temporary files are not listed. A folder that cannot be listed raises Unreadable.
        """

    @abstractmethod
    def polars_sources(self, keys: Sequence[str]) -> Sequence[Path | io.BytesIO]:
        """Return one source per key of a Parquet file, for Polars to read.

        Raises:
            Missing: A file does not exist.
            Unreadable: A file cannot be read.
            WrongChecksum: The content of a file is not the one that was written.
        """

    def put_parquet(self, key: str, frame: pl.DataFrame, metadata: dict[str, str] | None = None) -> str:
        """Write `frame` as a Parquet file, see `encode_parquet`, and return the uri."""
        return self.put(key, encode_parquet(frame, metadata))

    def scan(self, keys: Sequence[str], **options: Any) -> pl.LazyFrame:
        """Return a scan of the Parquet files at `keys`, concatenated in this order.

        If a file does not exist, either this call raises Missing or collecting the frame raises FileNotFoundError.
        Other errors are those of `polars_sources`.

        Args:
            keys: Keys of Parquet files.
            options: Arguments of Polars' `scan_parquet`.
        """
        sources: Any = self.polars_sources(keys)
        return pl.scan_parquet(sources, glob=False, hive_partitioning=False, **options)

    def read_metadata(self, key: str) -> dict[str, str]:
        """Return the key-value metadata of the Parquet file at `key`."""
        (source,) = self.polars_sources([key])
        return pl.read_parquet_metadata(source)


def check_key(key: str, store: object) -> str:
    """Return `key` unchanged if it lies within `store`. Raises DataError otherwise."""
    if ".." in PurePosixPath(key).parts or PurePosixPath(key).is_absolute():
        raise DataError(f"The key {key!r} lies outside the store {store}. Use a relative path without '..'.")
    return key
