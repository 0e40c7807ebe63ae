"""Narrower types of values that tests read: a column's number, an optional value, a store in a folder."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from storage.store import FolderStore, open_store

T = TypeVar("T")


def as_number(value: object) -> float:
    """Return an aggregate of a column of numbers. Polars gives it the type of any value of a column."""
    assert isinstance(value, int | float), f"must be a number, got {value!r}"
    return value


def as_instant(value: object) -> datetime:
    """Return an aggregate of a column of times."""
    assert isinstance(value, datetime), f"must be a datetime, got {value!r}"
    return value


def present(value: T | None) -> T:
    """Return a value that must not be None."""
    assert value is not None
    return value


def open_folder(path: str) -> FolderStore:
    """Open the store in a folder."""
    store = open_store(path)
    assert isinstance(store, FolderStore)
    return store
