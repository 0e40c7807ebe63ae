"""Prefect's embedded server: only its user can reach it, and it ends with the command, however that ends."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest

from flows.private_files import make_private, sqlite_path
from tests.support.commands import json_report, nightly_process
from tests.support.pipelines import ISSUE
from tests.support.prefect_server import failing_proxy
from tests.support.web_server import Web

_START, _END = 300.0, 60.0  # seconds on a busy machine


def test_only_the_user_may_read_prefects_files(tmp_path: Path) -> None:
    home, database = tmp_path / "home", tmp_path / "home/prefect.db"
    home.mkdir(mode=0o755)
    for end in ("", "-wal"):
        database.with_name(f"prefect.db{end}").write_text("")
    make_private(home, database)
    assert home.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in home.iterdir()} == {0o600}
    make_private(tmp_path / "new", None)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite+aiosqlite:////home/a/prefect.db", "/home/a/prefect.db"),
        ("sqlite+aiosqlite:////home/a%20b/prefect.db?timeout=3", "/home/a b/prefect.db"),
        ("sqlite+aiosqlite:///:memory:", None),
        ("sqlite+aiosqlite:///file::memory:?cache=shared&uri=true", None),
        ("postgresql+asyncpg://user:pw@host/prefect", None),
    ],
)
def test_the_file_of_a_database(url: str, path: str | None) -> None:
    assert sqlite_path(url) == (None if path is None else Path(path))


# A command with an embedded server, which reports its address and then waits.
_COMMAND = """
import json, os, sys
from flows import embedded_server
embedded_server.start_if_needed(os.environ)
names = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
print(json.dumps({name: os.environ.get(name) for name in names}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def command(prefect_server: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A running command with an embedded server. The database has its tables already, which takes 20 CPU-seconds."""
    (tmp_path / "home").mkdir(mode=0o755)
    with (
        sqlite3.connect(Path(prefect_server["PREFECT_HOME"]) / "prefect.db") as made,
        sqlite3.connect(tmp_path / "home/prefect.db") as copy,
    ):
        made.backup(copy)
    (tmp_path / "home/prefect.db").chmod(0o644)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={
            **clean, "PREFECT_HOME": str(tmp_path / "home"), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "280",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1",
        },
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()


def servers(home: Path) -> list[int]:
    """Return the processes with this folder of Prefect, besides this one's children that are no server."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_mine = f"PREFECT_HOME={home}\0".encode() in (process / "environ").read_bytes()
            if is_mine and b"embedded_server_process" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def wait_until_gone(home: Path) -> None:
    end = time.monotonic() + _END
    while servers(home):
        assert time.monotonic() < end, "the server stays"
        time.sleep(0.05)


@pytest.mark.process
@pytest.mark.prefect
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_only_the_command_can_use_its_server_which_ends_with_it(command: subprocess.Popen[str], tmp_path: Path) -> None:
    assert command.stdout is not None
    api = json.loads(command.stdout.readline())
    url, (user, _, key) = api["PREFECT_API_URL"], api["PREFECT_API_AUTH_STRING"].partition(":")
    for wrong in (None, httpx.BasicAuth(user, ""), httpx.BasicAuth(user, key[:-1])):
        assert httpx.post(f"{url}/flows/", json={"name": "foreign"}, auth=wrong).status_code == 401
        assert httpx.post(f"{url}/flows/filter", json={}, auth=wrong).status_code == 401
    own = httpx.post(f"{url}/flows/", json={"name": "own"}, auth=httpx.BasicAuth(user, key))
    assert own.status_code == 201
    home = tmp_path / "home"
    (server,) = servers(home)
    listening = [line.split()[1] for line in Path(f"/proc/{server}/net/tcp").read_text().splitlines()[1:]]
    port = int(url.rpartition(":")[2].partition("/")[0])
    assert {place for place in listening if place.endswith(f":{port:04X}")} >= {f"0100007F:{port:04X}"}
    assert f"00000000:{port:04X}" not in listening
    assert key.encode() not in Path(f"/proc/{server}/cmdline").read_bytes()
    assert home.stat().st_mode & 0o777 == 0o700
    files = [path for path in home.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"prefect.db"}
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files if path.name.startswith("prefect.db")} == {
        path.name: "0o600" for path in files if path.name.startswith("prefect.db")
    }
    command.send_signal(signal.SIGKILL)
    command.wait()
    wait_until_gone(home)


@pytest.mark.process
@pytest.mark.prefect
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_server_that_starts_ends_with_its_killed_command(command: subprocess.Popen[str], tmp_path: Path) -> None:
    home, end = tmp_path / "home", time.monotonic() + _START
    while not servers(home):
        assert time.monotonic() < end and command.poll() is None
        time.sleep(0.05)
    command.send_signal(signal.SIGKILL)
    command.wait()
    wait_until_gone(home)


def test_a_configured_api_that_does_not_work_costs_no_forecast(pipeline: Path, tmp_path: Path, web: Web) -> None:
    for path in ("/api/csrf-token", "/api/admin/version", "/api/flows/filter"):
        web.respond(path, b"<html>Please log in</html>")
    done = nightly_process(pipeline, tmp_path, "--issue-time", ISSUE, "--json", PREFECT_API_URL=f"{web.address}/api")
    assert done.returncode == 3, done.stderr
    assert f"warning: The Prefect API at {web.address}/api cannot be used: " in done.stderr
    assert "Traceback" not in done.stderr
    rows = pl.read_parquet(json_report(done)["path"], hive_partitioning=False)
    assert set(rows["status"]) == {"model"} and len(rows) == 72


@pytest.mark.parametrize(("profiles", "variables"), [("[[[", {}), ("", {"PREFECT_LOGGING_LEVEL": "BOGUS"})])
def test_a_prefect_that_cannot_be_loaded_costs_no_forecast(
    pipeline: Path, tmp_path: Path, profiles: str, variables: dict[str, str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "profiles.toml").write_text(profiles)
    variables = {"PREFECT_HOME": str(home), "PYTHONWARNINGS": "ignore", **variables}
    done = nightly_process(pipeline, tmp_path, "--issue-time", ISSUE, "--json", **variables)
    assert done.returncode == 3, done.stderr
    assert "warning: Prefect cannot be loaded: " in done.stderr and "Traceback" not in done.stderr
    rows = pl.read_parquet(json_report(done)["path"], hive_partitioning=False)
    assert set(rows["status"]) == {"model"} and len(rows) == 72


def test_an_api_that_fails_during_the_run_costs_no_forecast(
    pipeline: Path, tmp_path: Path, prefect_server: dict[str, str]
) -> None:
    """The API fails from its twelfth request on, when the run has begun."""
    with failing_proxy(prefect_server["PREFECT_API_URL"], after=12) as address:
        done = nightly_process(
            pipeline, tmp_path, "--issue-time", ISSUE, "--json", **prefect_server | {"PREFECT_API_URL": address}
        )
    assert done.returncode == 3, done.stderr
    assert "warning: Prefect failed during the run: " in done.stderr
    rows = pl.read_parquet(json_report(done)["path"], hive_partitioning=False)
    assert set(rows["status"]) == {"model"} and len(rows) == 72


def test_a_server_that_does_not_start_in_time_costs_no_forecast(pipeline: Path, tmp_path: Path) -> None:
    limit = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "1"}
    done = nightly_process(pipeline, tmp_path, "--issue-time", ISSUE, "--json", **limit)
    assert done.returncode == 3, done.stderr
    assert "did not answer within 1 s" in done.stderr
    assert "This run ingests and forecasts without Prefect" in done.stderr
    report = json_report(done)
    rows = pl.read_parquet(report["path"], hive_partitioning=False)
    assert set(rows["status"]) == {"model"} and len(rows) == 72
