"""A store in an S3 bucket: one object a key, each written by one PUT and read by one GET.

A PUT is whole or absent: S3 shows an object only after all of its bytes have come and their hash is right. An upload
in parts would leave parts behind where its writer dies, and is never used.
"""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from storage import s3
from storage.layout import HISTORY
from storage.schemas import Missing
from storage.store.interface import Store, checked_key

_TIMEOUT = 300.0  # seconds for one object: a big one over a slow line
_RETRIES = 3
_BACKOFF = 0.2  # seconds
_AT_ONCE = 16  # objects fetched side by side
_KEPT = 1 << 29  # bytes of the history that a process keeps


class BucketStore(Store):
    """The objects of `bucket` whose keys begin with `prefix`.

    Parts of the history are written once and never changed, so that a process fetches each only once.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self._parts: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @cached_property
    def _client(self) -> Any:
        return s3.client(self._bucket, self._prefix, _TIMEOUT, _RETRIES, _BACKOFF)

    def uri(self, key: str) -> str:
        return f"{self._uri}/{checked_key(key, self._uri)}"

    def put(self, key: str, content: bytes) -> str:
        return self._put(key, content)

    @contextmanager
    def atomic_file(self, key: str) -> Iterator[Path]:
        self.uri(key)
        with tempfile.TemporaryDirectory(prefix="gatecast-") as folder:
            file = Path(folder) / "content"
            yield file
            self._put(key, file)

    def _put(self, key: str, content: bytes | Path) -> str:
        place = self.uri(key)
        self._forget(key)
        with s3.translate_errors(f"store {self._uri}: writing {key}"):
            self._client.put(key, content, use_multipart=False)
        return place

    def get(self, key: str) -> bytes:
        place = self.uri(key)
        try:
            with s3.translate_errors(f"store {self._uri}: reading {key}"):
                return bytes(self._client.get(key).bytes())
        except Missing:
            raise Missing(f"{place} does not exist") from None

    def has(self, key: str) -> bool:
        try:
            self._client.head(key)
        except Exception:
            # An answer to HEAD has no body: only one to GET tells a missing object from a missing bucket.
            try:
                self.get(key)
            except Missing:
                return False
        return True

    def remove(self, key: str) -> None:
        self.uri(key)
        self._forget(key)
        with s3.translate_errors(f"store {self._uri}: removing {key}"):
            self._client.delete(key)

    def move(self, key: str, to: str) -> None:
        self.copy(key, to)
        self.remove(key)

    def copy(self, key: str, to: str) -> None:
        self.uri(key), self.uri(to)
        self._forget(to)
        with s3.translate_errors(f"store {self._uri}: copying {key}"):
            self._client.copy(key, to)

    def keys(self, prefix: str, pattern: str) -> list[str]:
        self.uri(prefix)
        with s3.translate_errors(f"store {self._uri}: listing {prefix}"):
            found = [entry["path"] for page in self._client.list(prefix) for entry in page]
        return sorted(key for key in found if _matches(key.rpartition("/")[2], pattern))

    def get_all(self, keys: Sequence[str]) -> list[bytes]:
        if len(keys) < 2:
            return [self._part(key) for key in keys]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._part, keys))

    def polars_sources(self, keys: Sequence[str]) -> Sequence[io.BytesIO]:
        return [io.BytesIO(content) for content in self.get_all(keys)]

    def _part(self, key: str) -> bytes:
        """The bytes at `key`; those of the history from memory, if they are there."""
        with self._lock:
            known = self._parts.get(key)
        if known is not None:
            return known
        content = self.get(key)
        if key.split("/")[0] == HISTORY:
            with self._lock:
                self._parts[key] = content
                while sum(map(len, self._parts.values())) > _KEPT:
                    del self._parts[next(iter(self._parts))]
        return content

    def _forget(self, key: str) -> None:
        with self._lock:
            self._parts.pop(key, None)


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) and not name.startswith(".")
