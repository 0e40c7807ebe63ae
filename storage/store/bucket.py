"""A store in an S3 bucket: one object per key, written by one PUT and read by one GET.

A PUT is atomic: S3 shows an object only after it has received all bytes and verified their hash. A multipart upload
is never used, because a writer that dies would leave its parts behind.
"""

from __future__ import annotations

import io
import logging
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from storage import s3
from storage.layout import HISTORY
from storage.schemas import DataError, Missing, Unreadable
from storage.store import checksum
from storage.store.interface import Store, check_key

logger = logging.getLogger(__name__)

_TIMEOUT = 60.0  # seconds of a request. One that hangs must leave time for another before the deadline.
_LONG_TIMEOUT = 300.0  # seconds of an upload of many bytes; over a slow connection it takes minutes
_MANY_BYTES = 8_000_000
_RETRIES = 5
_BACKOFF = 0.2  # seconds
_PARALLEL_READS = 16
_CACHE_BYTES = 1 << 29
_SWAPS = 50  # attempts at a compare-and-swap
_LONGEST_SWAP_WAIT = 1.0  # seconds
_UNSUPPORTED = ("NotImplemented", "501 ")  # answers of a server without conditional writes


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

    @cached_property
    def _patient_client(self) -> Any:
        return s3.open_client(self._bucket, self._prefix, _LONG_TIMEOUT, _RETRIES, _BACKOFF)

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
            size = content.stat().st_size if isinstance(content, Path) else len(content)
            client = self._patient_client if size > _MANY_BYTES else self._client
            client.put(key, content, use_multipart=False)
        return uri

    def get(self, key: str) -> bytes:
        return self._get_with_tag(key)[0]

    def _get_with_tag(self, key: str) -> tuple[bytes, str | None]:
        """Return the content of `key`, and the tag by which a conditional write recognises it."""
        uri = self.uri(key)
        try:
            with s3.translate_errors(f"store {self._root}: reading {key}"):
                answer = self._client.get(key)
                return bytes(answer.bytes()), answer.meta["e_tag"]
        except Missing:
            raise Missing(f"{uri} does not exist") from None
        except DataError as error:
            raise Unreadable(str(error)) from None

    def copy_chosen(self, to: str, choose: Callable[[], str | None]) -> None:
        check_key(to, self._root)

        def swap() -> None:
            tag = self._tag(to)
            key = choose()
            if key is not None:
                self._put_if(to, self.get(key), tag)

        self._repeat_until_alone(to, swap)

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> None:
        def swap() -> None:
            content, tag = self._get_with_tag(key) if self.has(key) else (None, None)
            self._put_if(key, change(content), tag)

        self._repeat_until_alone(key, swap)

    def _repeat_until_alone(self, key: str, swap: Callable[[], None]) -> None:
        """Call `swap` again if another process has replaced the content of `key` meanwhile."""
        for attempt in range(_SWAPS):
            try:
                return swap()
            except Exception as error:
                if not s3.is_conflict(error):
                    raise
                time.sleep(random.random() * min(_LONGEST_SWAP_WAIT, 0.02 * 2**attempt))
        raise DataError(
            f"{self.uri(key)} was replaced by other processes during each of {_SWAPS} attempts; run the command again"
        )

    def _tag(self, key: str) -> str | None:
        """Return the tag of the object at `key`, None if there is none."""
        if not self.has(key):
            return None
        with s3.translate_errors(f"store {self._root}: reading {key}"):
            tag: str | None = self._client.head(key)["e_tag"]
        return tag

    def _put_if(self, key: str, content: bytes, tag: str | None) -> None:
        """Write `content` if the object still has the tag, or if there still is none.

        Raises:
            Exception: One for which `s3.is_conflict` holds, if another process has written meanwhile.
        """
        self._drop_from_cache(key)
        mode: Any = "create" if tag is None else {"e_tag": tag}
        try:
            with s3.translate_errors(f"store {self._root}: writing {key}", keeps=s3.is_conflict):
                self._client.put(key, content, mode=mode, use_multipart=False)
        except DataError as error:
            if not any(text in str(error) for text in _UNSUPPORTED):
                raise
            logger.warning(
                "The S3 server has no conditional writes (If-Match), so that concurrent runs may overwrite each "
                "other's %s. Let only one run at a time write to this store.", key,
            )  # fmt: skip
            self._upload(key, content)

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
            keys = s3.list_keys(self._client, prefix)
        return sorted(key for key in keys if _matches(key.rpartition("/")[2], pattern))

    def get_all(self, keys: Sequence[str]) -> list[bytes]:
        if len(keys) < 2:
            return [self._get_cached(key) for key in keys]
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            return list(pool.map(self._get_cached, keys))

    def polars_sources(self, keys: Sequence[str]) -> Sequence[io.BytesIO]:
        return [io.BytesIO(content) for content in self.get_all(keys)]

    def _get_cached(self, key: str) -> bytes:
        """Return the verified content of `key`. Parts of the history come from the cache after the first read."""
        with self._lock:
            cached = self._cache.get(key)
        if cached is not None:
            return cached
        content = self.get(key)
        if key.endswith(".parquet"):
            checksum.verify(content, self.uri(key))
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
