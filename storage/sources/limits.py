"""Limits of one read of a feed: bytes, pages and time. They protect from sources that never end."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import BinaryIO, TypeVar

from storage.schemas import DataError
from storage.sources import zstd_size

_T = TypeVar("_T")

_MEGABYTE = 1_000_000
_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_BEST_RATIO = 1032  # of deflate, by its format
_MEMORY = 4  # A table of text takes about four times the size of its file in memory.
_CELL = 8  # bytes of a number or time in memory


class Limits:
    """Limits of one read, and what it has read so far.

    Args:
        name: Source, redacted. Errors start with it.
        megabytes: Most megabytes after decompression, None for no limit.
        pages: Most pages, None for no limit.
    """

    def __init__(self, name: str, megabytes: float | None, pages: int | None) -> None:
        self._name, self._megabytes, self._pages = name, megabytes, pages
        self._bytes = 0

    @property
    def left(self) -> int:
        """Bytes that may still be read."""
        return 1 << 62 if self._megabytes is None else max(0, round(self._megabytes * _MEGABYTE) - self._bytes)

    def require_bytes(self, count: int) -> None:
        """Check that bytes may be read.

        Raises:
            DataError: They are more than the limit.
        """
        if count > self.left:
            raise self._too_large("has more than")

    def count_bytes(self, count: int) -> None:
        """Add bytes that were read. Errors are those of `require_bytes`."""
        self.require_bytes(count)
        self._bytes += count

    def count_page(self, number: int) -> None:
        """Check the number of a page, from 1.

        Raises:
            DataError: It exceeds the limit.
        """
        if self._pages is not None and number > self._pages:
            raise DataError(
                f"{self._name}: the response has more than max_pages = {self._pages} pages; check the paging, or raise "
                "max_pages in [feed.options]"
            )

    def count_file(self, path: Path) -> None:
        """Add the size of a file after decompression.

        Raises:
            DataError: It exceeds the limit.
            OSError: The file cannot be read.
        """
        size = path.stat().st_size
        with path.open("rb") as file:
            self._count_unpacked(file, size)

    def count_unpacked(self, content: bytes) -> None:
        """Add the size of a file in memory after decompression. Errors are those of `count_file`."""
        self._count_unpacked(io.BytesIO(content), len(content))

    def count_if_packed(self, content: bytes) -> None:
        """Add the size of a body after decompression if it is a compressed file. Errors are those of `count_file`."""
        if content.startswith((_GZIP, zstd_size.MAGIC)):
            self.count_unpacked(content)

    def _count_unpacked(self, file: BinaryIO, size: int) -> None:
        head = file.read(4)
        file.seek(0)
        if head == zstd_size.MAGIC:
            size = max(size, zstd_size.zstd_size(file, self.left))
        elif head.startswith(_GZIP) and size * _BEST_RATIO > self.left:
            size = self._unpacked_size(file)
        self.count_bytes(size)

    def check_table(self, rows: int, columns: int) -> None:
        """Check the memory that a table needs. A few bytes of Parquet can hold any number of equal rows.

        Raises:
            DataError: The table is too large.
        """
        if self._megabytes is not None and rows * columns * _CELL > self._megabytes * _MEGABYTE * _MEMORY:
            raise self._too_large(f"has {rows:,} rows, which need {_MEMORY} times as much memory as")

    def _unpacked_size(self, file: BinaryIO) -> int:
        size = 0
        try:
            with gzip.open(file) as unpacked:
                while size <= self.left and (chunk := unpacked.read(_CHUNK)):
                    size += len(chunk)
        except (OSError, EOFError, zlib.error):
            pass  # the reader of the file reports what is wrong with it
        return size

    def _too_large(self, problem: str) -> DataError:
        return DataError(
            f"{self._name}: the source {problem} max_megabytes = {self._megabytes:g} after decompression; select less, "
            "or raise max_megabytes in [feed.options]"
        )


def run_within(seconds: float, name: str, read: Callable[[], _T]) -> _T:
    """Return the result of `read`, or raise DataError if it takes longer.

    A read that hangs in a library cannot be ended. It is left to its thread, which ends with the process.
    """
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(read())
        except BaseException as error:  # Polars' PanicException is no Exception
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise DataError(
            f"{name}: the read took longer than max_time = {seconds:g}s; select less, or raise max_time in "
            "[feed.options]"
        )
    return results[0]
