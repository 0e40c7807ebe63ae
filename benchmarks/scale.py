"""One night of many series on a Dask cluster of this machine, beside the local engine: `python -m benchmarks.scale`.

100,000 hourly series (or so many as named) are forecast by the local engine, then through Prefect's Dask task runner
by two workers of one thread each, then again with a worker killed once a third of the parts are there. Every file must
have the same bytes. Wall: from the start of the process to its end. CPU and peak memory: of that process with all that
it starts, and of the workers, as the kernel counted them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
from distributed import Client, LocalCluster

from benchmarks.first_light import machine
from benchmarks.many import ISSUE, make
from storage.store import open_store

_LOCAL = "from flows.__main__ import main; main()"
_DASK = "import sys; from flows.forecast import forecast; forecast(*sys.argv[1:])"


class Night(NamedTuple):
    """What one run cost: seconds by the wall, CPU of the process and of the workers, peak MB of each."""

    wall: float
    cpu: float
    memory: float
    workers_cpu: float = 0.0
    workers_memory: float = 0.0


def main() -> None:
    """Run everything and print the table."""
    series = int(sys.argv[1]) if sys.argv[1:] else 100_000
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        path = make(Path(scratch) / "many", series)
        print(f"{machine()}\n\n{series:,} series, 168 hours of history each, hidden size 128.\n")
        print("| engine | shards | wall s | CPU s | peak MB | CPU s of the workers | peak MB of a worker |")
        print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
        local = run(
            path, [sys.executable, "-c", _LOCAL, "forecast", str(path), "--issue-time", ISSUE.isoformat(), "--quiet"]
        )
        print_row("local", 0, local)
        wanted = published(path)
        with (
            prefect_server(Path(scratch) / "prefect") as api,
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        ):
            for shards in (8, 32, 128):
                environment = {
                    **api, "GATECAST_SCALE__ENGINE": cluster.scheduler_address, "GATECAST_SCALE__SHARDS": str(shards),
                }  # fmt: skip
                command = [sys.executable, "-c", _DASK, str(path), ISSUE.isoformat()]
                print_row("dask", shards, run(path, command, environment, cluster))
                assert published(path) == wanted
            environment["GATECAST_SCALE__SHARDS"] = "32"
            print_row("dask, a worker killed", 32, run(path, command, environment, cluster, kill_after=11))
            assert published(path) == wanted
    print(
        f"\nAll files have the same bytes. Load average before: {load:.1f}; after, with this: {os.getloadavg()[0]:.1f}."
    )


def print_row(engine: str, shards: int, night: Night) -> None:
    """One line of the table."""
    workers = f"{night.workers_cpu:.1f} | {night.workers_memory:.0f}" if shards else "|"
    print(
        f"| {engine} | {shards or ''} | {night.wall:.1f} | {night.cpu:.1f} | {night.memory:.0f} | {workers} |",
        flush=True,
    )


def published(path: Path) -> str:
    """The hash of the forecast file, which is taken away."""
    (file,) = (path.parent / "store").glob("forecasts/**/*.parquet")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.unlink()
    return digest


def run(
    path: Path, command: list[str], environment: dict[str, str] | None = None, cluster: LocalCluster | None = None,
    kill_after: int | None = None,
) -> Night:  # fmt: skip
    """One run; with `kill_after`, a worker of the cluster is killed once so many parts are there."""
    before = _workers(cluster)
    started = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stderr=subprocess.PIPE, text=True)
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))  # type: ignore[union-attr]
    reader.start()
    lost = 0.0
    if kill_after:
        store = open_store(str(path.parent / "store"))
        while len(store.keys("staging/many", "*.part.parquet")) < kill_after:
            assert process.poll() is None, errors
            time.sleep(0.02)
        victim = next(iter(before))
        lost = sum(psutil.Process(victim).cpu_times()[:2]) - before[victim][0]
        os.kill(victim, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    reader.join()
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{command} failed:\n{errors[0]}")
    after = _workers(cluster)
    cpu = lost + sum(spent - before.get(worker, (0.0, 0.0))[0] for worker, (spent, _) in after.items())
    return Night(
        wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, cpu,
        max((peak for _, peak in after.values()), default=0.0),
    )  # fmt: skip


def _workers(cluster: LocalCluster | None) -> dict[int, tuple[float, float]]:
    """Process id of each worker: seconds of CPU and peak MB so far."""
    if cluster is None:
        return {}
    with Client(cluster) as client:
        client.wait_for_workers(2)
        pids = client.run(os.getpid).values()
    spent = {pid: sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids}
    return {pid: (seconds, _peak(pid)) for pid, seconds in spent.items()}


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@contextlib.contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """A standing Prefect server; the environment that leads to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }  # fmt: skip
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/api"
    try:
        for _ in range(240):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                    break
            time.sleep(0.5)
        yield {"PREFECT_API_URL": url, **environment}
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


if __name__ == "__main__":
    main()
