"""Size of a zstd file after decompression, without decompressing it (RFC 8878, section 3.1.1).

A file consists of frames, a frame of blocks. The header of a block has its size, or the most that it can become. The
size that a frame declares is not used: it is optional, and another frame may follow.
"""

from __future__ import annotations

from typing import BinaryIO

MAGIC = b"\x28\xb5\x2f\xfd"
_BLOCK = 128 * 1024  # bytes that a compressed block becomes at most; all but the last of a frame become as many
_RAW, _REPEATED = 0, 1  # types of a block


def zstd_size(file: BinaryIO, limit: int) -> int:
    """Return the size of all frames after decompression, at most one block more for each frame than it really is.

    Args:
        file: The file, at its begin.
        limit: Size after which the rest is not read.
    """
    size = 0
    while size <= limit and (magic := file.read(4)):
        if magic == MAGIC:
            size = _add_frame(file, size, limit)
        elif 0x50 <= magic[0] <= 0x5F and magic[1:] == b"\x2a\x4d\x18":
            file.seek(int.from_bytes(file.read(4), "little"), 1)  # a frame to be skipped
        else:
            break  # the reader of the file reports what is wrong with it
    return size


def _add_frame(file: BinaryIO, size: int, limit: int) -> int:
    """Return the size with that of the blocks of a frame, whose header begins here."""
    descriptor = int.from_bytes(file.read(1), "little")
    is_single = bool(descriptor & 0x20)
    content = (1 if is_single else 0, 2, 4, 8)[descriptor >> 6]
    file.seek((not is_single) + (0, 1, 2, 4)[descriptor & 3] + content, 1)
    while size <= limit and len(header := file.read(3)) == 3:
        fields = int.from_bytes(header, "little")
        is_last, kind, length = fields & 1, fields >> 1 & 3, fields >> 3
        size += length if kind in (_RAW, _REPEATED) else _BLOCK
        file.seek(1 if kind == _REPEATED else length, 1)
        if is_last:
            file.seek(4 if descriptor & 4 else 0, 1)
            break
    return size
