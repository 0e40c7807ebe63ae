"""A store without some of its content, for a run that must go on although it cannot read all."""

from __future__ import annotations

from collections.abc import Iterable

from storage.store.interface import Store
from storage.store.replay import ReplayStore


class PartialStore(ReplayStore):
    """A store that does not list the keys `hidden` of `store`, nor the keys in folders among them."""

    def __init__(self, store: Store, hidden: Iterable[str]) -> None:
        super().__init__(store, store)
        self._hidden = frozenset(hidden)

    def keys(self, prefix: str, pattern: str) -> list[str]:
        if prefix in self._hidden:
            return []
        return [key for key in super().keys(prefix, pattern) if key not in self._hidden]
