"""Stores of either kind: what holds of one holds of the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from storage.store import FolderStore, Store, open_store
from tests.support.s3_server import BUCKET


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def new_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Store]:
    """`new_store()`: an empty store, each time another."""
    if request.param == "file":
        return lambda: open_store(str(tmp_path_factory.mktemp("store")))
    request.getfixturevalue("s3")
    numbers = count()
    return lambda: open_store(f"s3://{BUCKET}/gate cast/{next(numbers)}")


@pytest.fixture
def store(new_store: Callable[[], Store]) -> Store:
    """An empty store."""
    return new_store()


@pytest.fixture
def folder(tmp_path) -> FolderStore:
    """An empty store on the disk."""
    return open_store(str(tmp_path / "store"))
