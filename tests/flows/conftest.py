"""Fixtures of several files of these tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import gatecast

if TYPE_CHECKING:
    from tests.support.challengers import Bench


@pytest.fixture
def bench(pipeline: Path) -> Bench:
    """Return a store with the common champion, and a history up to LATER."""
    from tests.support.challengers import LATER, Bench

    assert gatecast("ingest", pipeline, "--as-of", LATER).returncode == 0
    return Bench(pipeline)
