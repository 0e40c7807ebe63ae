"""Fixtures: a small pipeline on the real sample, and one store in which it was trained."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests import postgresql
from tests.web_server import Web

# No test may reach a Prefect server by accident; the end-to-end tests start one in processes of their own.
os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"

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
head = "{head}"

[training]
budget = "{budget}"
window = "all"

[promotion]
folds = 7
"""


def write_pipeline(folder: Path, head: str = "quantile", budget: str = "24s") -> Path:
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
        [sys.executable, "-m", "flows.cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def said(done: subprocess.CompletedProcess[str]) -> dict:
    """The JSON that a command printed."""
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline file whose store has history and a champion as of ISSUE. Copy it before changing anything."""
    path = write_pipeline(tmp_path_factory.mktemp("trained"))
    assert gatecast("ingest", path, "--as-of", ISSUE).returncode == 0
    done = gatecast("train", path, "--as-of", ISSUE)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def pipeline(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained pipeline, to do anything with."""
    shutil.copytree(trained.parent, tmp_path / "copy")
    return tmp_path / "copy" / trained.name


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The uri of a fresh PostgreSQL with one user, `reader`, who has a password."""
    with postgresql.running() as uri:
        yield uri


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
