"""Fixtures: a small pipeline on the real sample, and one store in which it was trained."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from flows.stage_process.environment import PASSIVE_WAIT
from storage import redaction
from tests.support import postgresql, s3_server, session
from tests.support.commands import gatecast
from tests.support.pipelines import ISSUE, copy_of, write_pipeline
from tests.support.prefect_server import environment as prefect_environment
from tests.support.tiers import (  # noqa: F401
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_ignore_collect,
    pytest_runtest_call,
    pytest_runtest_setup,
)
from tests.support.web_server import Web

# No test may reach a Prefect server by accident; the end-to-end tests start one in processes of their own.
os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"
# Before anything loads torch.
os.environ.setdefault(*PASSIVE_WAIT)
session.begin()


@pytest.fixture(scope="session")
def trained() -> Path:
    """A pipeline file whose store has history and a champion as of ISSUE. Copy it before changing anything."""

    def make(folder: Path) -> None:
        path = write_pipeline(folder)
        assert gatecast("ingest", path, "--as-of", ISSUE).returncode == 0
        done = gatecast("train", path, "--as-of", ISSUE)
        assert done.returncode == 0, done.stderr

    return session.once("trained", make) / "small.toml"


@pytest.fixture(scope="session")
def prefect_server() -> dict[str, str]:
    """Return the environment that leads to the session's standing Prefect server."""
    return prefect_environment()


@pytest.fixture
def pipeline(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained pipeline, to do anything with."""
    return copy_of(trained, tmp_path / "copy")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The uri of a fresh PostgreSQL with one user, `reader`, who has a password."""
    with postgresql.running() as uri:
        yield uri


@pytest.fixture(scope="session")
def _s3() -> Iterator[s3_server.S3Server]:
    with s3_server.running() as server:
        yield server


@pytest.fixture
def s3(_s3: s3_server.S3Server, monkeypatch: pytest.MonkeyPatch) -> s3_server.S3Server:
    """A server of S3 with one empty bucket; the environment leads to it."""
    for name, value in _s3.environment.items():
        monkeypatch.setenv(name, value)
    _s3.reset()
    return _s3


@pytest.fixture(autouse=True)
def _no_secrets() -> Iterator[None]:
    """Forget the secrets that the test's pipelines registered in this process."""
    yield
    redaction.forget_secrets()


@pytest.fixture
def web() -> Iterator[Web]:
    """A server: see `Web`."""
    server = Web()
    yield server
    server.stop()


@pytest.fixture
def utc() -> Callable[..., datetime]:
    """`utc(2018, 9, 1)`: an instant."""
    return partial(datetime, tzinfo=UTC)
