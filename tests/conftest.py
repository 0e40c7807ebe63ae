"""Fixtures: a small pipeline on the real sample, and one store in which it was trained."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.stage_process.environment import PASSIVE_WAIT
from tests.startup import once_a_session
from tests.support import postgresql, s3_server
from tests.support import prefect_server as prefect_server_support
from tests.support.commands import gatecast
from tests.support.pipelines import ISSUE, copy_of, write_pipeline
from tests.support.web_server import Web

# No test may reach a Prefect server by accident; the end-to-end tests start one in processes of their own.
os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"
# Before anything loads torch.
os.environ.setdefault(*PASSIVE_WAIT)
if once_a_session.FOLDER not in os.environ:  # the workers and all other processes have it from this one
    os.environ[once_a_session.FOLDER] = tempfile.mkdtemp(prefix="gatecast-tests-")
    atexit.register(shutil.rmtree, os.environ[once_a_session.FOLDER], ignore_errors=True)
    paths = (str(Path(once_a_session.__file__).parent), os.environ.get("PYTHONPATH"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    once_a_session.install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run whole nights come first: at the end one worker would be left alone with them."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(scope="session")
def trained() -> Path:
    """A pipeline file whose store has history and a champion as of ISSUE. Copy it before changing anything."""

    def make(folder: Path) -> None:
        path = write_pipeline(folder)
        assert gatecast("ingest", path, "--as-of", ISSUE).returncode == 0
        done = gatecast("train", path, "--as-of", ISSUE)
        assert done.returncode == 0, done.stderr

    return once_a_session.once("trained", make) / "small.toml"


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A standing Prefect server; the environment that leads to it."""
    with prefect_server_support.running(tmp_path_factory.mktemp("prefect-server")) as environment:
        yield environment


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


@pytest.fixture
def web() -> Iterator[Web]:
    """A server: see `Web`."""
    server = Web()
    yield server
    server.stop()


@pytest.fixture
def utc():
    """`utc(2018, 9, 1)`: an instant."""
    return lambda *parts: datetime(*parts, tzinfo=UTC)
