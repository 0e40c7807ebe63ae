"""Everything that `make serve` brings up, in a folder and on ports of its own, over a store with a champion."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import polars as pl

from deployments.daemon import find_descendants, is_alive
from deployments.installation import ROOT, Installation, read_installation
from storage import registry
from storage.store import open_store
from tests.support.pipelines import ISSUE, SAMPLES, write_pipeline
from tests.support.prefect_api import every, request
from tests.support.web_server import Web

#: A champion that is not trained anew, whatever day it is.
_KEPT = {"GATECAST_TRAINING__EVERY": "36500d"}
T = TypeVar("T")
_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class Serving:
    """Installation started by `make serve`, driven by its commands and read through Prefect's API."""

    environment: dict[str, str]
    store: Path
    #: A pipeline file whose weather comes from a server that answers when `answer` is set.
    held: Path
    answer: threading.Event
    #: Paths of all requests to that server.
    requests: list[str]
    watching: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def at(self) -> Installation:
        """Return its folders and addresses."""
        return read_installation(self.environment)

    @property
    def url(self) -> str:
        """The API with its key."""
        _, key = self.at.read_secrets() or ("", "")
        return self.at.url.replace("//", f"//{key}@")

    def make(self, what: str) -> subprocess.CompletedProcess[str]:
        """`make serve` is `up`, `make unserve` is `down`."""
        command = [sys.executable, "-m", "deployments", what]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )

    def pid(self, daemon: str) -> int:
        """The process of the `server` or the `worker`."""
        return int((self.at.state / f"{daemon}.pid").read_text())

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Prefect's own command with the key of a client."""
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        settings = {**self.at.environment(self.at.client_file), "COLUMNS": "200"}
        return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False, timeout=300)

    def trigger(self, deployment: str, **parameters: str) -> str:
        """Have a deployment run; the id of the run."""
        given = [word for name, value in parameters.items() for word in ("--param", f"{name}={value}")]
        done = self.prefect("deployment", "run", deployment, *given)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(UUID(done.stdout.partition("UUID: ")[2].split()[0]))

    def watch(self, deployment: str, **parameters: str) -> subprocess.Popen[str]:
        """Have a deployment run and wait for its end: `prefect deployment run --watch`."""
        given = [word for name, value in parameters.items() for word in ("--param", f"{name}={value}")]
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deployment", "run", deployment, *given, "--watch"]
        settings = self.at.environment(self.at.client_file)
        process = subprocess.Popen(
            command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.watching.append(process)
        return process

    def run(self, identity: str) -> dict[str, Any]:
        """Return a flow run as the API has it."""
        result: dict[str, Any] = request("GET", f"{self.url}/flow_runs/{identity}").json()
        return result

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Every run of a deployment, by its flow's and its own name."""
        return every(self.url, "flow_runs", deployments={"id": {"any_": [self.deployment(deployment)["id"]]}})

    def deployment(self, name: str) -> dict[str, Any]:
        """Return a deployment as the API has it."""
        result: dict[str, Any] = request("GET", f"{self.url}/deployments/name/{name}").json()
        return result

    def ended(self, identity: str, within: float = 180) -> dict[str, Any]:
        """A run, when it has come to its end."""

        def over() -> dict[str, Any] | None:
            run = self.run(identity)
            return run if run["state_type"] in _FINAL else None

        return wait(over, f"the end of {identity}", within)

    def night(self, identity: str) -> str:
        """Return the Markdown of the artifact that a run published."""
        artifacts = every(self.url, "artifacts", flow_runs={"id": {"any_": [identity]}})
        return next((a["data"] for a in artifacts if a["key"] == "load-published"), "nothing")

    def forecast(self, day: str) -> pl.DataFrame | None:
        """The forecast of a day, None if there is none."""
        paths = list((self.store / "forecasts/pipeline=load" / f"issue_date={day}").glob("*.parquet"))
        return pl.read_parquet(paths[0]) if paths else None

    def mid_run(self, day: str) -> str:
        """A night that has begun, and hangs in its ingest until `answer` is set; the id of the run."""
        self.answer.clear()
        before = len(self.requests)
        identity = self.trigger("nightly/load-publish-forecast", pipeline=str(self.held), issue_time=day)
        wait(lambda: len(self.requests) > before, "a run that requests its weather", 120)
        assert self.run(identity)["state_type"] == "RUNNING"
        return identity

    def processes(self) -> dict[int, str]:
        """Every process of this bring-up: of its folder in its command line or its environment."""
        commands = {}
        for proc in Path("/proc").glob("[0-9]*"):
            try:
                content = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
            except OSError:
                continue
            if self.environment["GATECAST_STATE"].encode() in content and int(proc.name) != os.getpid():
                commands[int(proc.name)] = content.split(b"\0\0")[0].replace(b"\0", b" ").decode(errors="replace")[:200]
        return {pid: words for pid, words in commands.items() if is_alive(pid)}


def wait(condition: Callable[[], T | None], what: str, within: float = 120) -> T:
    """Return the result of `condition` as soon as it is true."""
    end = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < end, f"{what}: not within {within:.0f} s"
        time.sleep(0.5)
    return result


def kill(pid: int) -> None:
    """A process and all that it started, at once and without a word."""
    for member in [pid, *find_descendants(pid)]:
        try:
            os.kill(member, 9)
        except ProcessLookupError:
            continue


@contextmanager
def running(folder: Path) -> Iterator[Serving]:
    """Everything of `make serve`, up. Its nights are those of deployments/load.toml, on the embedded sample."""
    # Not below pytest's folder, which PostgreSQL's user may not enter.
    state = Path(tempfile.mkdtemp(prefix="gatecast-serving-"))
    store = folder / "store"
    web, answer = Web(), threading.Event()
    weather = pl.read_parquet(SAMPLES / "temperature.parquet").filter(pl.col("ds") >= pl.datetime(2018, 2, 1))
    body = weather.write_csv().encode()
    web.answers["/weather.csv"] = lambda _: (answer.wait(300), (200, {}, body))[1]
    path, held = _pipelines(folder / "pipeline", f"{web.address}/weather.csv")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "GATECAST_"))}
    environment = {
        **clean, **_KEPT, "GATECAST_PIPELINE__STORE": str(store), "GATECAST_STATE": str(state),
        "GATECAST_PREFECT_PORT": str(_free()), "GATECAST_POSTGRES_PORT": str(_free()),
    }  # fmt: skip
    serving = Serving(environment, store, held, answer, web.requests)
    try:
        with ThreadPoolExecutor() as beside:
            done = beside.submit(serving.make, "up")
            _train(path, store, environment)
        assert done.result().returncode == 0, done.result().stdout + done.result().stderr
        yield serving
    finally:
        answer.set()
        serving.make("down")
        for process in serving.watching:
            process.kill()
            process.wait()
        for pid in serving.processes():
            kill(pid)
        web.stop()
        shutil.rmtree(state)


def _pipelines(folder: Path, weather: str) -> tuple[Path, Path]:
    """A small pipeline of the name `load`, and the same with its weather from the web."""
    small = write_pipeline(folder, max_updates=100)
    path = folder / "load.toml"
    path.write_text(small.read_text().replace('name = "small"', 'name = "load"'))
    held = folder / "held.toml"
    held.write_text(path.read_text().replace('uri = "temperature.parquet"', f'uri = "{weather}"'))
    return path, held


def _train(path: Path, store: Path, environment: dict[str, str]) -> None:
    """A champion. Whatever a few seconds train serves: these tests are about nights, not about who is better."""
    for stage in ("ingest", "train"):
        done = subprocess.run(
            [sys.executable, "-m", "flows", stage, str(path), "--as-of", ISSUE, "--json"],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    registry.promote(open_store(str(store)), "load", json.loads(done.stdout)["version"])


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
