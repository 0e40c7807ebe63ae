"""Shards: the forecast file is the same for any number of shards and after any failure, or it is missing."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from flows import clock
from flows.settings import file as pipeline_file
from flows.stages.distributed import assemble, plan, run_shard
from flows.stages.forecast import forecast
from storage import forecasts, history, registry
from storage.schemas import DataError
from storage.store import Store, open_store
from tests.support.pipelines import ISSUE, many

# A function from a number of shards to the settings, the store and the issue time.
Case = tuple[Callable[..., pipeline_file.Pipeline], Store, datetime]

SHARDS = 7


@pytest.fixture
def case(pipeline: Path) -> Case:
    """Return a function from a number of shards to the settings, the store and the issue time."""
    many(pipeline)

    def settings(shards: int = SHARDS) -> pipeline_file.Pipeline:
        return pipeline_file.read(pipeline, {"GATECAST_SCALE__SHARDS": str(shards)})

    return settings, open_store(settings().pipeline.store), clock.parse_time(ISSUE, settings().pipeline.timezone)


@pytest.fixture
def one_shard(case: Case) -> bytes:
    """Return the bytes of the file from one shard, and delete the file."""
    settings, store, issue = case
    path = Path(forecast(settings(1), store, issue)["path"])
    content = path.read_bytes()
    path.unlink()
    return content


def read_published(settings: Callable[..., pipeline_file.Pipeline], store: Store, issue: datetime) -> bytes | None:
    at = settings().pipeline
    if not forecasts.exists(store, settings().name, at.timezone, issue):
        return None
    (path,) = Path(at.store).glob("forecasts/**/*.parquet")
    return path.read_bytes()


def staged(store: Store) -> list[str]:
    return store.keys("staging/small", "*")


def run_shards(
    settings: Callable[..., pipeline_file.Pipeline], store: Store, issue: datetime, parts: Iterable[int] = range(SHARDS)
) -> str:
    """Plan a run, run some of its shards, and return its name."""
    planned = plan(settings(), store, issue, clock.now())
    assert planned["shards"] == SHARDS and planned["series"] == 26
    for shard in parts:
        run_shard(settings(), store, planned["run"], shard)
    return planned["run"]


def test_the_file_does_not_depend_on_the_shards(case: Case, one_shard: bytes) -> None:
    settings, store, issue = case
    reports = []
    for shards in (1, SHARDS, 26):
        reports.append(forecast(settings(shards), store, issue))
        assert read_published(settings, store, issue) == one_shard
    assert reports[0] == reports[1] == reports[2]
    assert reports[0]["ended"] == ["K-ended"]
    rows = pl.read_parquet(reports[0]["path"], hive_partitioning=False)
    assert rows.select("series_id", "valid_time").equals(rows.select("series_id", "valid_time").sort(pl.all()))
    unknown = rows.filter(pl.col("series_id").str.ends_with("unknown"))
    assert set(unknown["status"]) == {"baseline"} and unknown["q50"].is_finite().all()
    assert set(rows.filter(pl.col("series_id").str.starts_with("L"))["status"]) == {"model"}


def test_shards_in_any_order_and_more_than_once_give_the_same_file(case: Case, one_shard: bytes) -> None:
    settings, store, issue = case
    parts = [*range(SHARDS), 2, 5]
    random.Random(1).shuffle(parts)
    report = assemble(settings(), store, run_shards(settings, store, issue, parts), {})
    assert read_published(settings, store, issue) == one_shard
    assert staged(store) == [] and report["stood_in"] == 0
    assert {key: value for key, value in report.items() if key != "stood_in"} == forecast(settings(1), store, issue)


def test_changes_after_the_plan_count_for_the_next_forecast(case: Case, one_shard: bytes) -> None:
    """Ingest another series and promote another model while the shards are running."""
    settings, store, issue = case
    run = run_shards(settings, store, issue, range(3))
    early = history.read_as_of(store, "small", "demand", ["y"], issue, issue - timedelta(days=3))
    late = early.filter(series_id="LDC1").with_columns(
        pl.lit("L05b").alias("series_id"), available_at=pl.col("valid_time") + timedelta(hours=1)
    )
    history.append(store, "small", "demand", late, clock.now())
    (manifest,) = registry.valid_manifests(store, "small")
    content = registry.load(store, "small", manifest["version"])
    facts = {key: value for key, value in manifest.items() if key not in ("version", "as_of", "sha256")}
    promoted = registry.add(store, "small", issue - timedelta(hours=1), content, facts)
    registry.promote(store, "small", promoted)
    for shard in range(3, SHARDS):
        run_shard(settings(), store, run, shard)
    assemble(settings(), store, run, {})
    assert read_published(settings, store, issue) == one_shard
    assert forecast(settings(), store, issue)["series"] == 26, "the next forecast has the new series"


def test_a_crash_before_the_assembly_leaves_no_file_and_the_next_run_publishes(case: Case, one_shard: bytes) -> None:
    settings, store, issue = case
    crashed = run_shards(settings, store, issue)
    assert read_published(settings, store, issue) is None
    run = run_shards(settings, store, issue)
    assemble(settings(), store, run, {})
    assert read_published(settings, store, issue) == one_shard
    left = staged(store)
    assert len(left) == 2 * SHARDS and all(crashed in key for key in left)
    plan(settings(), store, issue, clock.now() + timedelta(days=2))
    assert not any(crashed in key for key in staged(store)), "its staged files are deleted later"


def test_a_missing_shard_comes_from_the_baseline_with_its_reason(case: Case, one_shard: bytes) -> None:
    settings, store, issue = case
    run = run_shards(settings, store, issue, [shard for shard in range(SHARDS) if shard != 3])
    report = assemble(settings(), store, run, {3: "its worker burnt down"})
    assert report["stood_in"] == 1 and report["degraded"]
    rows = pl.read_parquet(report["path"], hive_partitioning=False)
    hit = pl.col("reason") == "its worker burnt down"
    assert set(rows.filter(hit)["status"]) == {"baseline"}
    assert 3 <= rows.filter(hit)["series_id"].n_unique() <= 4
    shutil.copy(report["path"], Path(report["path"]).with_name("kept"))
    forecast(settings(1), store, issue)
    others = ~pl.col("series_id").is_in(rows.filter(hit)["series_id"].unique().to_list())
    others &= ~pl.col("series_id").str.ends_with("unknown")  # imputed from the other series, which differ here
    full = pl.read_parquet(report["path"], hive_partitioning=False)
    assert rows.filter(others).equals(full.filter(others))


def test_a_worker_that_is_late_or_has_other_settings_is_refused(case: Case) -> None:
    settings, store, issue = case
    run = run_shards(settings, store, issue, [0])
    other = settings().model_copy(update={"pipeline": settings().pipeline.model_copy(update={"season": 24})})
    with pytest.raises(DataError, match="other settings"):
        run_shard(other, store, run, 1)
    assemble(settings(), store, run, {})
    with pytest.raises(DataError, match="does not exist"):
        run_shard(settings(), store, run, 1)


def test_a_worker_that_cannot_load_the_model_fails_with_a_reason(case: Case) -> None:
    settings, store, issue = case
    run = run_shards(settings, store, issue, [0])
    (key,) = store.keys("models/small", "model.onnx")
    store.put(key, b"damaged meanwhile")
    with pytest.raises(DataError, match="sha256 differs"):
        run_shard(settings(), store, run, 1)
    report = assemble(settings(), store, run, dict.fromkeys(range(1, SHARDS), "its shard failed"))
    assert report["stood_in"] == SHARDS - 1
    rows = pl.read_parquet(report["path"], hive_partitioning=False)
    assert rows.filter(status="baseline")["reason"].null_count() == 0


def test_the_data_hash_covers_every_series(case: Case, one_shard: bytes) -> None:
    settings, store, issue = case
    rows = history.read_as_of(store, "small", "demand", ["y"], issue, issue - timedelta(days=1))
    revised = rows.filter(series_id="L11").tail(1).with_columns(pl.col("y") + 1, available_at=issue)
    history.append(store, "small", "demand", revised, clock.now())
    path = forecast(settings(), store, issue)["path"]

    def data_hash(file: str | io.BytesIO) -> str:
        return pl.read_parquet_metadata(file)["gatecast.data_sha256"]

    assert data_hash(path) != data_hash(io.BytesIO(one_shard))
