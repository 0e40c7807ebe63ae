"""One forecast of many series on a local Dask cluster, beside the local engine: `python -m benchmarks.scale [SERIES]`.

The local engine forecasts 100,000 hourly series by default. Then Prefect's Dask task runner does, with two
workers of one thread each, and again with one worker killed after a third of the shards. All files must have the same
bytes. Wall time is that of the whole process. CPU and peak memory are those of the process with its children, and of
the workers, as the kernel measures them.
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
from benchmarks.race.cost import load_note
from storage.store import open_store

_LOCAL = "from flows.__main__ import main; main()"
_DASK = "import sys; from flows.forecast import forecast; forecast(*sys.argv[1:])"


class Cost(NamedTuple):
    """Cost of one run: wall-clock seconds, CPU-seconds and peak MB of the process, the same of the workers."""

    wall: float
    cpu: float
    memory: float
    workers_cpu: float = 0.0
    workers_memory: float = 0.0


def main() -> None:
    """Measure all and print the table."""
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
        expected = take_hash(path)
        with (
            prefect_server(Path(scratch) / "prefect") as api,
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,  # type: ignore[no-untyped-call]
        ):
            for shards in (8, 32, 128):
                environment = {
                    **api, "GATECAST_SCALE__ENGINE": cluster.scheduler_address, "GATECAST_SCALE__SHARDS": str(shards),
                }  # fmt: skip
                command = [sys.executable, "-c", _DASK, str(path), ISSUE.isoformat()]
                print_row("dask", shards, run(path, command, environment, cluster))
                assert take_hash(path) == expected
            environment["GATECAST_SCALE__SHARDS"] = "32"
            print_row("dask, one worker killed", 32, run(path, command, environment, cluster, kill_after=11))
            assert take_hash(path) == expected
    print(f"\nAll files have the same bytes.{load_note(load)}")


def print_row(engine: str, shards: int, cost: Cost) -> None:
    """Print one line of the table."""
    workers = f"{cost.workers_cpu:.1f} | {cost.workers_memory:.0f}" if shards else "|"
    print(
        f"| {engine} | {shards or ''} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.memory:.0f} | {workers} |",
        flush=True,
    )


def take_hash(path: Path) -> str:
    """Return the hash of the forecast file and delete the file."""
    (file,) = (path.parent / "store").glob("forecasts/**/*.parquet")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.unlink()
    return digest


def run(
    path: Path, command: list[str], environment: dict[str, str] | None = None, cluster: LocalCluster | None = None,
    kill_after: int | None = None,
) -> Cost:  # fmt: skip
    """Run a command and return its cost. With `kill_after`, kill a worker after that number of shard results."""
    before = _workers(cluster)
    started = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stderr=subprocess.PIPE, text=True)
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))  # type: ignore[union-attr]
    reader.start()
    killed_cpu = 0.0
    if kill_after:
        store = open_store(str(path.parent / "store"))
        while len(store.keys("staging/many", "*.part.parquet")) < kill_after:
            assert process.poll() is None, errors
            time.sleep(0.02)
        victim = next(iter(before))
        killed_cpu = sum(psutil.Process(victim).cpu_times()[:2]) - before[victim][0]
        os.kill(victim, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    reader.join()
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{command} failed:\n{errors[0]}")
    after = _workers(cluster)
    cpu = killed_cpu + sum(seconds - before.get(worker, (0.0, 0.0))[0] for worker, (seconds, _) in after.items())
    return Cost(
        wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, cpu,
        max((peak for _, peak in after.values()), default=0.0),
    )  # fmt: skip


def _workers(cluster: LocalCluster | None) -> dict[int, tuple[float, float]]:
    """Return CPU-seconds and peak MB so far by the process id of each worker."""
    if cluster is None:
        return {}
    with Client(cluster) as client:  # type: ignore[no-untyped-call]
        client.wait_for_workers(2)
        pids = client.run(os.getpid).values()
    cpu = {pid: sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids}
    return {pid: (seconds, _peak(pid)) for pid, seconds in cpu.items()}


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@contextlib.contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """Start a Prefect server and yield the environment variables that select it."""
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
