"""Checksums of Parquet files, inside the file.

Polars, and most other readers, do not notice a flipped bit in a page. So each file that a store writes has a checksum
between its last page and its footer. The Parquet format allows any bytes there: readers find the footer by its length,
which stands at the end of the file, and pages by their offset. A copy or a renamed file keeps its checksum, and one
write or one rename replaces both.

A file of an earlier version has no checksum and is not verified.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from storage.schemas import DataError

_MARK = b"\x93gatecrc"  # before and after the checksum, so that a damaged mark does not make a file look unmarked
_LENGTH = 2 * len(_MARK) + 4
_END = 8  # length of the footer (4 bytes), and PAR1
_CHUNK = 1 << 18  # bytes; a chunk fits into the cache of a core
_MAX_VERIFIED = 100_000

_Identity = tuple[str, int, int, int, int, int]
_verified: set[_Identity] = set()
_lock = threading.Lock()


class WrongChecksum(DataError):
    """A file whose content is not the one that was written."""


def add_checksum(content: bytes) -> bytes:
    """Return the bytes of a Parquet file with a checksum before its footer."""
    footer = _footer_start(len(content), content[-_END:])
    crc = zlib.crc32(content[footer:], zlib.crc32(memoryview(content)[:footer]))
    return b"".join((content[:footer], _block(crc), content[footer:]))


def add_checksum_to_file(path: Path) -> None:
    """Add a checksum before the footer of a Parquet file, in place."""
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - _END)
        start = _footer_start(size, file.read())
        file.seek(start)
        footer = file.read()
        file.seek(0)
        crc = zlib.crc32(footer, _crc(file, start))
        file.seek(start)
        file.write(_block(crc) + footer)


def verify(content: bytes, name: str) -> bool:
    """Verify the checksum of a Parquet file in memory, and return whether it has one.

    Args:
        content: Bytes of the file.
        name: Uri of the file. The message starts with it.

    Raises:
        WrongChecksum: The content is not the one that was written.
    """
    return _verify(io.BytesIO(content), len(content), name)


def open_regular_file(path: Path) -> io.FileIO:
    """Open a file for reading, without a buffer.

    Raises:
        OSError: The file cannot be read. A pipe or a device in its place is an error, because a read of it could wait
            for a writer or never end.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a regular file")
    return file


def verify_file(path: Path) -> None:
    """Verify the checksum of a Parquet file, once in each process as long as the file does not change.

    Raises:
        OSError: The file cannot be read.
        WrongChecksum: The content is not the one that was written.
    """
    # A file mapped into memory would end the process if the disk cannot read a page.
    with open_regular_file(path) as file:
        facts = os.fstat(file.fileno())
        identity = (
            str(path), facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns,
        )  # fmt: skip
        if identity in _verified:
            return
        _verify(file, facts.st_size, str(path))
    with _lock:
        if len(_verified) >= _MAX_VERIFIED:
            _verified.clear()
        _verified.add(identity)


def _verify(file: BinaryIO | io.FileIO, size: int, name: str) -> bool:
    file.seek(max(0, size - _END))
    start = _footer_start(size, file.read(_END)) - _LENGTH
    block = b""
    if start >= 0:
        file.seek(start)
        block = file.read(_LENGTH)
    if not (block.startswith(_MARK) and block.endswith(_MARK)):
        if _contains_mark(file):
            raise WrongChecksum(f"{name} is damaged: its checksum is not where it was written")
        return False
    file.seek(0)
    crc = _crc(file, start)
    file.seek(start + _LENGTH)
    if _crc(file, size, crc) != int.from_bytes(block[len(_MARK) : -len(_MARK)], "little"):
        raise WrongChecksum(f"{name} is damaged: its checksum is wrong")
    return True


def _block(crc: int) -> bytes:
    return _MARK + crc.to_bytes(4, "little") + _MARK


def _footer_start(size: int, end: bytes) -> int:
    """Return the offset of the footer, negative if the declared length exceeds the file."""
    return size - _END - int.from_bytes(end[:4], "little")


def _crc(file: BinaryIO | io.FileIO, count: int, crc: int = 0) -> int:
    """Return the CRC-32 of the next `count` bytes, or of all bytes to the end if there are fewer."""
    for chunk in _chunks(file, count):
        crc = zlib.crc32(chunk, crc)
    return crc


def _contains_mark(file: BinaryIO | io.FileIO) -> bool:
    file.seek(0)
    before = b""
    for chunk in _chunks(file, 1 << 62):
        text = before + chunk
        if _MARK in text:
            return True
        before = text[1 - len(_MARK) :]
    return False


def _chunks(file: BinaryIO | io.FileIO, count: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_CHUNK))
    while count > 0 and (length := file.readinto(buffer[: min(count, _CHUNK)])):  # type: ignore[union-attr]
        yield buffer[:length]
        count -= length
