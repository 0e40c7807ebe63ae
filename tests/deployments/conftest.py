"""The fixture of what `make serve` brings up, once a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import serving as support
from tests.support.serving import Serving


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Everything of `make serve`, up. Its runs are those of deployments/load.toml, on the embedded sample."""
    with support.running(tmp_path_factory.mktemp("serving")) as served:
        yield served
