"""Parquet files as every store writes them, and the errors of reading one."""

from __future__ import annotations

import io
import os
import queue
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from storage.store.checksum import WrongChecksum, add_checksum, add_checksum_to_file

#: Errors of the content of a damaged Parquet file. A damaged page can make Polars raise PanicException, which derives
#: from BaseException and is not caught by `except Exception`.
CONTENT_ERRORS: tuple[type[BaseException], ...] = (
    pl.exceptions.PolarsError, pl.exceptions.PanicException, WrongChecksum,
)  # fmt: skip
#: Errors of reading a Parquet file that is damaged or cannot be read.
READ_ERRORS: tuple[type[BaseException], ...] = (*CONTENT_ERRORS, OSError)

_PROBED_BYTES = 1 << 16

# A low compression level makes writing fast. Small row groups make reading one series fast.
_OPTIONS: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "row_group_size": 24_000}


def encode_parquet(frame: pl.DataFrame, metadata: dict[str, str] | None = None) -> bytes:
    """Return `frame` as the bytes of a Parquet file with a checksum."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **_OPTIONS, metadata=metadata)
    return add_checksum(buffer.getvalue())


@contextmanager
def parquet_writer(
    path: Path, schema: Mapping[str, pl.DataType], metadata: Callable[[], dict[str, str]]
) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write a Parquet file with a checksum, block by block.

    The bytes do not depend on how the rows are cut into blocks. A second thread encodes the blocks. At most a few of
    them are in memory at a time.

    Args:
        path: File to write.
        schema: Columns of the file. Blocks are cast to these types.
        metadata: Returns the key-value metadata. Called after the last block.

    Yields:
        Function that appends a block.
    """
    blocks: queue.Queue[pl.DataFrame | None] = queue.Queue(1)
    is_aborted = False

    def read_blocks(*_: object) -> Iterator[pl.DataFrame]:
        while (block := blocks.get()) is not None:
            yield block.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        if is_aborted:
            raise InterruptedError

    def append(block: pl.DataFrame | None) -> None:
        # The writer no longer empties the queue after an error: do not wait for it for ever.
        while not written.done():
            with suppress(queue.Full):
                return blocks.put(block, timeout=0.1)
        require_written()

    def require_written() -> None:
        try:
            written.result()
        except pl.exceptions.PolarsError:
            _require_space(path)
            raise

    with ThreadPoolExecutor(1) as pool:
        frame = register_io_source(read_blocks, schema=dict(schema))
        written = pool.submit(lambda: frame.sink_parquet(path, **_OPTIONS, metadata=lambda _: metadata()))
        try:
            yield append
        except BaseException:
            is_aborted = True
            raise
        finally:
            append(None)
        require_written()
    add_checksum_to_file(path)


def _require_space(path: Path) -> None:
    """Raise OSError if nothing more can be written to a file, because Polars does not name that as the reason."""
    if path.exists():
        with path.open("ab") as file:
            file.write(bytes(_PROBED_BYTES))
            file.flush()
            os.fsync(file.fileno())
