"""A store for backtests: the history of another store, with models and forecasts of its own."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from storage.layout import HISTORY
from storage.store.interface import Store


class ReplayStore(Store):
    """A store that takes keys of the history from `source` and all other keys from `own`."""

    def __init__(self, own: Store, source: Store) -> None:
        self._own, self._source = own, source

    def _store_of(self, key: str) -> Store:
        return self._source if key.split("/")[0] == HISTORY else self._own

    def uri(self, key: str) -> str:
        return self._store_of(key).uri(key)

    def put(self, key: str, content: bytes) -> str:
        return self._store_of(key).put(key, content)

    def atomic_file(self, key: str) -> AbstractContextManager[Path]:
        return self._store_of(key).atomic_file(key)

    def get(self, key: str) -> bytes:
        return self._store_of(key).get(key)

    def has(self, key: str) -> bool:
        return self._store_of(key).has(key)

    def remove(self, key: str) -> None:
        self._store_of(key).remove(key)

    def move(self, key: str, to: str) -> None:
        self._store_of(key).move(key, to)

    def copy(self, key: str, to: str) -> None:
        self._store_of(key).copy(key, to)

    def copy_chosen(self, to: str, choose: Callable[[], str | None]) -> None:
        self._store_of(to).copy_chosen(to, choose)

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> None:
        self._store_of(key).update(key, change)

    def keys(self, prefix: str, pattern: str) -> list[str]:
        return self._store_of(prefix).keys(prefix, pattern)

    def polars_sources(self, keys: Sequence[str]) -> Sequence[Path | io.BytesIO]:
        return [source for key in keys for source in self._store_of(key).polars_sources([key])]
