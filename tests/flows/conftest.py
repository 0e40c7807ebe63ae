"""What several files of these tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.challengers import LATER, Bench
from tests.support.commands import gatecast


@pytest.fixture
def bench(pipeline: Path) -> Bench:
    """The common champion, and a history that goes on to LATER."""
    assert gatecast("ingest", pipeline, "--as-of", LATER).returncode == 0
    return Bench(pipeline)
