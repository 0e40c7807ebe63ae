"""Fixtures: a small pipeline on the real sample, and one store in which it was trained."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest

from flows.stage_process.environment import PASSIVE_WAIT
from tests import postgresql, s3_server
from tests.startup import once_a_session
from tests.web_server import Web

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

SAMPLES = Path(__file__).parent.parent / "storage" / "samples"
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
ISSUE = "2018-09-01"

PIPELINE = """
[pipeline]
name = "small"
store = "./store"
frequency = "1h"
timezone = "America/New_York"
holidays = "US"
horizon = 24
context = 336
season = 168
bounds = {{ min = 0.0 }}

[[feed]]
name = "demand"
role = "target"
uri = "load.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
time_zone = "America/New_York"

[[feed]]
name = "weather"
role = "known_future"
uri = "temperature.parquet"
valid_time = "ds"
values = ["temperature_forecast"]
time_zone = "America/New_York"

[model]
hidden_size = 16
members = 1
head = "{head}"

[training]
budget = "{budget}"
window = "all"

[promotion]
folds = 7
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run whole nights come first: at the end one worker would be left alone with them."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


def write_pipeline(folder: Path, head: str = "quantile", budget: str = "60s") -> Path:
    """A pipeline file and eight months of the sample beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    since = pl.col("ds") >= pl.datetime(2018, 2, 1)
    for name in ("load", "temperature"):
        pl.read_parquet(SAMPLES / f"{name}.parquet").filter(since).write_parquet(folder / f"{name}.parquet")
    path = folder / "small.toml"
    path.write_text(PIPELINE.format(head=head, budget=budget))
    return path


def gatecast(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flows", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def nightly(path: Path, prefect_home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One night in a process of its own, on Prefect's embedded API or the one that `environment` names."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-m", "flows", "nightly", str(path), *arguments],
        capture_output=True, text=True, timeout=400, check=False,
        env={**clean, "PREFECT_HOME": str(prefect_home), **environment},
    )  # fmt: skip


def said(done: subprocess.CompletedProcess[str]) -> dict:
    """The JSON that a command printed."""
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def trained() -> Path:
    """A pipeline file whose store has history and a champion as of ISSUE. Copy it before changing anything."""

    def make(folder: Path) -> None:
        path = write_pipeline(folder)
        assert gatecast("ingest", path, "--as-of", ISSUE).returncode == 0
        done = gatecast("train", path, "--as-of", ISSUE)
        assert done.returncode == 0, done.stderr

    return once_a_session.once("trained", make) / "small.toml"


def copy_of(trained: Path, folder: Path) -> Path:
    """The same pipeline file with the same store, in a folder that is not there yet."""
    return Path(shutil.copytree(trained.parent, folder)) / trained.name


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A standing Prefect server; the environment that leads to it."""
    home = tmp_path_factory.mktemp("prefect-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    log = (home / "server.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        stdout=log, stderr=log, env={**clean, **environment}, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/api"
    try:
        for _ in range(240):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                    break
            assert server.poll() is None, (home / "server.log").read_text()
            time.sleep(0.5)
        else:
            pytest.fail("the Prefect server did not start within two minutes")
        yield {"PREFECT_API_URL": url, **environment}
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        log.close()


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


def hourly(first: datetime, values: np.ndarray, series: str = "a") -> pl.DataFrame:
    """A target table of one series: series_id, valid_time, available_at at the end of the hour, y."""
    times = [first + timedelta(hours=i) for i in range(len(values))]
    return pl.DataFrame({"series_id": series, "valid_time": times, "y": values}).with_columns(
        pl.col("valid_time").dt.cast_time_unit("us")
    ).with_columns(available_at=pl.col("valid_time") + pl.duration(hours=1))  # fmt: skip
