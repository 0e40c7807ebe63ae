"""Text of the pipeline files that are held for the duration of a run, see `flows.settings.file.hold`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_NOTHING: Mapping[str, str] = MappingProxyType({})
#: Text by path. Prefect runs a task in the context of its flow, also in another thread.
_held: ContextVar[Mapping[str, str]] = ContextVar("held", default=_NOTHING)


@contextmanager
def hold_text(path: str, text: str) -> Iterator[None]:
    """Keep the text of a pipeline file for the stages that start in this context."""
    token = _held.set({**_held.get(), path: text})
    try:
        yield
    finally:
        _held.reset(token)


def held_text(path: str) -> str | None:
    """Return the text of a pipeline file that is held, else None."""
    return _held.get().get(path)
