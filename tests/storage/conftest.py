"""Fixtures of empty stores: in a folder and in a bucket."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from storage.store import FolderStore, Store, open_store
from tests.support.narrow import open_folder
from tests.support.s3_server import BUCKET


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def new_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Store]:
    """Return a function that opens a new empty store."""
    if request.param == "file":
        return lambda: open_store(str(tmp_path_factory.mktemp("store")))
    request.getfixturevalue("s3")
    numbers = count()
    return lambda: open_store(f"s3://{BUCKET}/gate cast/{next(numbers)}")


@pytest.fixture
def store(new_store: Callable[[], Store]) -> Store:
    """Return an empty store."""
    return new_store()


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    """Return an empty store in a folder."""
    return open_folder(str(tmp_path / "store"))
