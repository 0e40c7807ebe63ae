"""The forecast on a real Dask cluster of two worker processes, through a real Prefect server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from flows import clock, pipeline_file
from flows.stages.forecast import forecast
from storage.store import open_store
from tests.conftest import ISSUE
from tests.flows.test_shards import many

SHARDS = 12
RUN = """
import json, sys
from flows.forecast import forecast
if __name__ == "__main__":
    state = forecast(*sys.argv[1:], return_state=True)
    print(json.dumps([state.name, state.result(raise_on_failure=False)], default=str))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture
def started(pipeline, prefect_server, cluster, tmp_path):
    """Starts the flow on the cluster; the process. And the bytes that the local engine publishes."""
    many(pipeline)
    settings = pipeline_file.read(pipeline, {})
    store = open_store(settings.pipeline.store)
    path = Path(forecast(settings, store, clock.parse(ISSUE, settings.pipeline.timezone))["path"])
    local = path.read_bytes()
    path.unlink()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    scale = {"GATECAST_SCALE__ENGINE": cluster.scheduler_address, "GATECAST_SCALE__SHARDS": str(SHARDS)}
    script = tmp_path / "run.py"
    script.write_text(RUN)
    process = subprocess.Popen(
        [sys.executable, str(script), str(pipeline), ISSUE],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **prefect_server, **scale},
    )  # fmt: skip
    yield process, store, path, local
    process.kill()
    process.communicate()


def parts(store) -> list[str]:
    return store.keys("staging/small", "*.part.parquet")


def test_a_cluster_publishes_the_bytes_of_the_local_engine(started):
    process, store, path, local = started
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and '"stood_in": 0' in out, errors
    assert path.read_bytes() == local
    assert store.keys("staging/small", "*") == []


def test_a_killed_worker_costs_nothing_but_time(started, cluster):
    process, store, path, local = started
    with Client(cluster) as client:
        client.wait_for_workers(2)
        before = client.run(os.getpid)
        for _ in range(1200):
            if parts(store):
                break
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.1)
        done = len(parts(store))
        os.kill(next(iter(before.values())), signal.SIGKILL)
        out, errors = process.communicate(timeout=300)
        assert 0 < done < SHARDS
        assert process.returncode == 0 and '"stood_in": 0' in out, errors
        assert path.read_bytes() == local
        client.wait_for_workers(2)
        assert set(client.run(os.getpid).values()) != set(before.values()), "a worker was lost"
