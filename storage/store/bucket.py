"""A store in an S3 bucket: one object per key, written by one PUT and read by one GET.

A PUT is atomic: S3 shows an object only after it has received all bytes and verified their hash. A multipart upload
is never used, because a writer that dies would leave its parts behind.
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
from storage.store.interface import Store, check_key

_TIMEOUT = 300.0  # seconds per object; a large one over a slow connection takes minutes
_RETRIES = 3
_BACKOFF = 0.2  # seconds
_PARALLEL_READS = 16
_CACHE_BYTES = 1 << 29


class BucketStore(Store):
    """A store whose keys are objects of `bucket`, below `prefix`.

    Parts of the history never change, so a process fetches each of them once and keeps it in memory.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._root = f"s3://{bucket}/{prefix}".rstrip("/")
        self._cache: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @cached_property
    def _client(self) -> Any:
        return s3.open_client(self._bucket, self._prefix, _TIMEOUT, _RETRIES, _BACKOFF)

    def uri(self, key: str) -> str:
        return f"{self._root}/{check_key(key, self._root)}"

    def put(self, key: str, content: bytes) -> str:
        return self._upload(key, content)

    @contextmanager
    def atomic_file(self, key: str) -> Iterator[Path]:
        """Yield a file in the system's folder for temporary files. It is uploaded when the block ends."""
        check_key(key, self._root)
        with tempfile.TemporaryDirectory(prefix="gatecast-") as folder:
            file = Path(folder) / "content"
            yield file
            self._upload(key, file)

    def _upload(self, key: str, content: bytes | Path) -> str:
        uri = self.uri(key)
        self._drop_from_cache(key)
        with s3.translate_errors(f"store {self._root}: writing {key}"):
            self._client.put(key, content, use_multipart=False)
        return uri

    def get(self, key: str) -> bytes:
        uri = self.uri(key)
        try:
            with s3.translate_errors(f"store {self._root}: reading {key}"):
                return bytes(self._client.get(key).bytes())
        except Missing:
            raise Missing(f"{uri} does not exist") from None

    def has(self, key: str) -> bool:
        try:
            self._client.head(key)
        except Exception:
            # The response to a failed HEAD has no body. Only GET shows whether the object or the bucket is missing.
            try:
                self.get(key)
            except Missing:
                return False
        return True

    def remove(self, key: str) -> None:
        check_key(key, self._root)
        self._drop_from_cache(key)
        with s3.translate_errors(f"store {self._root}: removing {key}"):
            self._client.delete(key)

    def move(self, key: str, to: str) -> None:
        self.copy(key, to)
        self.remove(key)

    def copy(self, key: str, to: str) -> None:
        check_key(key, self._root)
        check_key(to, self._root)
        self._drop_from_cache(to)
        with s3.translate_errors(f"store {self._root}: copying {key}"):
            self._client.copy(key, to)

    def keys(self, prefix: str, pattern: str) -> list[str]:
        check_key(prefix, self._root)
        with s3.translate_errors(f"store {self._root}: listing {prefix}"):
            keys: list[str] = [entry["path"] for page in self._client.list(prefix) for entry in page]
        return sorted(key for key in keys if _matches(key.rpartition("/")[2], pattern))

    def get_all(self, keys: Sequence[str]) -> list[bytes]:
        if len(keys) < 2:
            return [self._get_cached(key) for key in keys]
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            return list(pool.map(self._get_cached, keys))

    def polars_sources(self, keys: Sequence[str]) -> Sequence[io.BytesIO]:
        return [io.BytesIO(content) for content in self.get_all(keys)]

    def _get_cached(self, key: str) -> bytes:
        """Return the content of `key`. Parts of the history come from the cache after the first read."""
        with self._lock:
            cached = self._cache.get(key)
        if cached is not None:
            return cached
        content = self.get(key)
        if key.split("/")[0] == HISTORY:
            with self._lock:
                self._cache[key] = content
                while sum(map(len, self._cache.values())) > _CACHE_BYTES:
                    del self._cache[next(iter(self._cache))]
        return content

    def _drop_from_cache(self, key: str) -> None:
        with self._lock:
            self._cache.pop(key, None)


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) and not name.startswith(".")
