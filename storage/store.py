"""A store: keys in, bytes and tables out; what is written is whole or absent. A folder is one, an S3 bucket another."""

from __future__ import annotations

import io
import os
import queue
import re
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from storage.layout import HISTORY
from storage.redaction import hide
from storage.schemas import DataError, Missing

_S3 = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][\w.-]*")

#: Fast to write, and to read one series of.
_PARQUET: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "row_group_size": 24_000}


class Store(ABC):
    """What `store` of the pipeline file names. A key is a path within it ('a/b.parquet'); `layout` makes them."""

    @abstractmethod
    def place(self, key: str) -> str:
        """Where `key` lies, as people write it. Raises DataError for a key that would leave the store."""

    @abstractmethod
    def put(self, key: str, content: bytes) -> str:
        """Write `content` whole or not at all, whatever becomes of the writer; returns its place."""

    @abstractmethod
    def writing(self, key: str) -> AbstractContextManager[Path]:
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
    def sources(self, keys: Sequence[str]) -> Sequence[Path | io.BytesIO]:
        """What Polars reads `keys` from. May raise Missing."""

    def put_parquet(self, key: str, frame: pl.DataFrame, metadata: dict[str, str] | None = None) -> str:
        """Write `frame` as `parquet` encodes it; returns its place."""
        return self.put(key, parquet(frame, metadata))

    def scan(self, keys: Sequence[str], **options: Any) -> pl.LazyFrame:
        """The Parquet files at `keys`, one after the other; `options` are of Polars' `scan_parquet`.

        Where one is not there this raises Missing, or reading the frame raises FileNotFoundError.
        """
        sources: Any = self.sources(keys)
        return pl.scan_parquet(sources, glob=False, hive_partitioning=False, **options)

    def metadata(self, key: str) -> dict[str, str]:
        """The key-value metadata of the Parquet file at `key`."""
        (source,) = self.sources([key])
        return pl.read_parquet_metadata(source)


def parquet(frame: pl.DataFrame, metadata: dict[str, str] | None = None) -> bytes:
    """A Parquet file of `frame`."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **_PARQUET, metadata=metadata)
    return buffer.getvalue()


@contextmanager
def parquet_file(
    file: Path, schema: dict[str, pl.DataType], metadata: Callable[[], dict[str, str]]
) -> Iterator[Callable[[pl.DataFrame], None]]:
    """A Parquet file of the blocks that what it gives is called with: the same file however they are cut.

    It is encoded beside the caller's work, and a few blocks at a time are held.

    Args:
        metadata: asked when all blocks are there.
    """
    blocks: queue.Queue[pl.DataFrame | None] = queue.Queue(1)
    given_up = False

    def source(*_: object) -> Iterator[pl.DataFrame]:
        while (block := blocks.get()) is not None:
            yield block.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        if given_up:
            raise InterruptedError

    def put(block: pl.DataFrame | None) -> None:
        while not written.done():
            with suppress(queue.Full):
                return blocks.put(block, timeout=0.1)
        written.result()

    with ThreadPoolExecutor(1) as beside:
        frame = register_io_source(source, schema=schema)
        written = beside.submit(lambda: frame.sink_parquet(file, **_PARQUET, metadata=lambda _: metadata()))
        try:
            yield put
        except BaseException:
            given_up = True
            raise
        finally:
            put(None)
        written.result()


def open_store(uri: str) -> Store:
    """The store at `uri`: a folder, or s3://bucket/prefix. Nothing is read yet, so nothing has to be there.

    Raises:
        DataError: the uri is of neither kind.
    """
    if "://" not in uri:
        return Folder(uri)
    bucket, *folders = uri.removeprefix(_S3).rstrip("/").split("/")
    if not uri.startswith(_S3) or not _BUCKET.fullmatch(bucket) or {"", ".", ".."} & set(folders):
        raise DataError(f"{hide(uri)!r}: a store is a folder, or s3://bucket/prefix")
    # Late: a store that is a folder needs nothing of S3.
    from storage.bucket import Bucket

    return Bucket(bucket, "/".join(folders))


def inside(key: str, store: object) -> str:
    """`key`, which lies in `store`. Raises DataError for one that would not."""
    if ".." in PurePosixPath(key).parts or PurePosixPath(key).is_absolute():
        raise DataError(f"{key!r} would lie outside the store {store}")
    return key


class Folder(Store):
    """A store on a disk."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def path(self, key: str) -> Path:
        """The place of `key`."""
        return self.root / inside(key, self.root)

    def place(self, key: str) -> str:
        return str(self.path(key))

    def put(self, key: str, content: bytes) -> str:
        with self.writing(key) as file:
            file.write_bytes(content)
        return self.place(key)

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
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
        with self.writing(to) as file:
            shutil.copyfile(self.path(key), file)

    def keys(self, prefix: str, pattern: str) -> list[str]:
        folder = self.path(prefix)
        found = (place for place in folder.rglob(pattern) if not place.name.startswith("."))
        return sorted(place.relative_to(self.root).as_posix() for place in found)

    def sources(self, keys: Sequence[str]) -> Sequence[Path]:
        return [self.path(key) for key in keys]


class Replay(Store):
    """A store of its own for models and forecasts of the past, over the history of `source`."""

    def __init__(self, own: Store, source: Store) -> None:
        self._own, self._source = own, source

    def _of(self, key: str) -> Store:
        return self._source if key.split("/")[0] == HISTORY else self._own

    def place(self, key: str) -> str:
        return self._of(key).place(key)

    def put(self, key: str, content: bytes) -> str:
        return self._of(key).put(key, content)

    def writing(self, key: str) -> AbstractContextManager[Path]:
        return self._of(key).writing(key)

    def get(self, key: str) -> bytes:
        return self._of(key).get(key)

    def has(self, key: str) -> bool:
        return self._of(key).has(key)

    def remove(self, key: str) -> None:
        self._of(key).remove(key)

    def move(self, key: str, to: str) -> None:
        self._of(key).move(key, to)

    def copy(self, key: str, to: str) -> None:
        self._of(key).copy(key, to)

    def keys(self, prefix: str, pattern: str) -> list[str]:
        return self._of(prefix).keys(prefix, pattern)

    def sources(self, keys: Sequence[str]) -> Sequence[Path | io.BytesIO]:
        return [source for key in keys for source in self._of(key).sources([key])]
