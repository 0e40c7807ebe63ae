"""The forecast on a real Dask cluster of two worker processes, through a real Prefect server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from distributed import Client, LocalCluster

from flows import clock
from flows.settings import file as pipeline_file
from flows.stages.forecast import forecast
from storage.schemas.records import DistributedReport, ForecastReport
from storage.store import Store, open_store
from tests.support.pipelines import ISSUE, many
from tests.support.s3_server import BUCKET, S3Server

StartForecast = Callable[..., subprocess.Popen[str]]
# A pipeline file, its store, and the bytes and the report of the local engine's forecast.
LocalForecast = tuple[Path, Store, bytes, ForecastReport]

pytestmark = pytest.mark.cluster

SHARDS = 12
RUN = """
import json, sys
from flows import clock
from flows.settings import file as pipeline_file
from flows.sharded import forecast_runner
if __name__ == "__main__":
    settings = pipeline_file.read(sys.argv[1])
    at = clock.parse_time(sys.argv[2], settings.pipeline.timezone).isoformat()
    limit = float(sys.argv[3]) if sys.argv[3:] else None
    print(json.dumps(forecast_runner(settings.scale.engine)(sys.argv[1], at, limit)))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:  # type: ignore[no-untyped-call]
        yield cluster


@pytest.fixture
def start(prefect_server: dict[str, str], tmp_path: Path) -> Iterator[StartForecast]:
    """Return a function that starts a forecast in its own process: `start(pipeline file, engine, limit)`."""
    script = tmp_path / "run.py"
    script.write_text(RUN)
    running = []

    def start(pipeline: Path, engine: str, *limit: object, **environment: str) -> subprocess.Popen[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        scale = {"GATECAST_SCALE__ENGINE": engine, "GATECAST_SCALE__SHARDS": str(SHARDS)}
        process = subprocess.Popen(
            [sys.executable, str(script), str(pipeline), ISSUE, *map(str, limit)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**clean, **prefect_server, **scale, **environment},
        )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def local_forecast(pipeline: Path) -> LocalForecast:
    """Return a pipeline file, its store, and the bytes and the report of the local engine's forecast, then deleted."""
    many(pipeline)
    settings = pipeline_file.read(pipeline, {})
    store = open_store(settings.pipeline.store)
    report = forecast(settings, store, clock.parse_time(ISSUE, settings.pipeline.timezone))
    path = Path(report["path"])
    content = path.read_bytes()
    path.unlink()
    return pipeline, store, content, report


def finish(process: subprocess.Popen[str]) -> DistributedReport:
    """Wait for a forecast, and return its report."""
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    report: DistributedReport = json.loads(out.splitlines()[-1])
    return report


def staged(store: Store, what: str = "*") -> list[str]:
    return store.keys("staging/small", what)


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    pytest.fail("the condition was not met within two minutes")


def test_a_cluster_publishes_the_bytes_of_the_local_engine(
    local_forecast: LocalForecast, start: StartForecast, cluster: LocalCluster
) -> None:
    pipeline, store, local, report = local_forecast
    assert finish(start(pipeline, cluster.scheduler_address)) == report | {"stood_in": 0}
    assert Path(report["path"]).read_bytes() == local
    assert staged(store) == []


def test_a_cluster_on_this_machine_publishes_the_same_bytes_into_a_bucket(
    local_forecast: LocalForecast, start: StartForecast, s3: S3Server
) -> None:
    pipeline, folder, local, _ = local_forecast
    bucket = open_store(f"s3://{BUCKET}/nights")
    for key in (key for top in ("history", "models") for key in folder.keys(top, "*.*")):
        bucket.put(key, folder.get(key))
    report = finish(start(pipeline, "dask", GATECAST_PIPELINE__STORE=f"s3://{BUCKET}/nights"))
    assert report["stood_in"] == 0 and report["path"].startswith(f"s3://{BUCKET}/nights/forecasts/")
    assert bucket.get(report["path"].removeprefix(f"s3://{BUCKET}/nights/")) == local
    assert staged(bucket) == []


def test_the_loss_of_a_worker_does_not_change_the_file(
    local_forecast: LocalForecast, start: StartForecast, cluster: LocalCluster
) -> None:
    pipeline, store, local, report = local_forecast
    with Client(cluster) as client:  # type: ignore[no-untyped-call]
        client.wait_for_workers(2)
        before = client.run(os.getpid)
        process = start(pipeline, cluster.scheduler_address)
        wait_for(process, lambda: bool(staged(store, "*.part.parquet")))
        done = len(staged(store, "*.part.parquet"))
        os.kill(next(iter(before.values())), signal.SIGKILL)
        assert finish(process)["stood_in"] == 0
        assert 0 < done < SHARDS
        assert Path(report["path"]).read_bytes() == local
        client.wait_for_workers(2)
        assert set(client.run(os.getpid).values()) != set(before.values()), "a worker was lost"


def test_a_damaged_part_is_set_aside_before_the_shards_are_given_out(
    local_forecast: LocalForecast, start: StartForecast, cluster: LocalCluster
) -> None:
    pipeline, store, local, _ = local_forecast
    # Two parts of one second are in the order of their hashes.
    parts = [Path(store.uri(key)) for key in store.keys("history/small/demand", "*.parquet")]
    (added,) = [part for part in parts if "LDC1" not in pl.read_parquet(part)["series_id"].to_list()]
    content = bytearray(added.read_bytes())
    content[-len(content) // 3 : -len(content) // 6] = bytes(len(content) // 3 - len(content) // 6)
    added.write_bytes(content)
    published = finish(start(pipeline, cluster.scheduler_address))
    assert published["stood_in"] == 0 and published["degraded"]
    rows = pl.read_parquet(published["path"], hive_partitioning=False)
    assert not rows.filter(status="model").height, "no row is complete"
    # The series of the other part have the forecast that they had before.
    rows = rows.filter(pl.col("series_id").str.starts_with("LDC"))
    assert set(rows["status"]) == {"stale_model"}
    assert rows["reason"].str.contains("demand.*is damaged").all()
    spared = pl.read_parquet(local).filter(pl.col("series_id").str.starts_with("LDC"))
    names = ["series_id", "valid_time", "q50"]
    assert rows.select(names).equals(spared.select(names))
    assert not added.exists() and added.with_name(f"{added.name}.damaged").exists()
    assert staged(store) == []


def test_shards_missing_at_the_deadline_come_from_the_baseline(
    local_forecast: LocalForecast, start: StartForecast, cluster: LocalCluster
) -> None:
    pipeline, _, local, _ = local_forecast
    with Client(cluster) as client:  # type: ignore[no-untyped-call]
        client.wait_for_workers(2)
        workers = list(client.run(os.getpid).values())
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        published = finish(start(pipeline, cluster.scheduler_address, 60))
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    assert published["stood_in"] == SHARDS and set(published["status"]) == {"baseline"}
    rows = pl.read_parquet(published["path"], hive_partitioning=False)
    (reason,) = set(rows["reason"])
    assert reason.startswith("its shard gave no result within 48 s")
    assert rows.select("series_id", "valid_time").equals(pl.read_parquet(local).select("series_id", "valid_time"))
