"""Parquet encoding shared by every store."""

from __future__ import annotations

import io
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

#: Fast to write, and to read one series of.
_PARQUET: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "row_group_size": 24_000}


def encode_parquet(frame: pl.DataFrame, metadata: dict[str, str] | None = None) -> bytes:
    """A Parquet file of `frame`."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **_PARQUET, metadata=metadata)
    return buffer.getvalue()


@contextmanager
def parquet_writer(
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
