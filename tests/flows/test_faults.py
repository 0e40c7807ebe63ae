"""A forecast is published whatever else fails, with the right status of its rows, and the failure is on record."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from flows import clock
from flows.settings.file import open_pipeline
from flows.stages.forecast import forecast
from storage.schemas.records import RunRecord
from tests.support.commands import gatecast
from tests.support.narrow import present
from tests.support.nights import FAULTS, STUBS, fault_in_call, fault_in_store, run_night
from tests.support.pipelines import ISSUE

pytestmark = pytest.mark.prefect

_UNREAD = {"forecast:late inputs", "forecast:history:weather", "forecast:linear expert"}
# Method of the store, part of the key, status of the rows, and failures of the record.
STORE_FAULTS = [
    ("get", "champion.json", "baseline", {"train"}),
    ("get", "manifest.json", "baseline", {"train"}),
    ("get", "model.onnx", "baseline", {"train"}),
    ("keys", "models/", "model", {"training decision"}),
    ("keys", "nights/", "model", {"alerts of the last run"}),
    ("get", "nights/", "model", set[str]()),
    ("get", "grid.json", "model", set[str]()),
    ("copy", "latest/", "model", {"forecast:latest"}),
    ("put", "nights/", "model", {"record"}),
    ("keys", "history/small/weather", "stale_model", _UNREAD),
]
CALL_FAULTS = [
    ("flows.stages.retrain.retrain_reason", "model", {"training decision"}),
    ("flows.nightly.write_metrics", "model", {"metrics"}),
    ("flows.stages.shard.find_late_inputs", "stale_model", {"forecast:late inputs"}),
    ("flows.stages.shard.implausible_values", "stale_model", {"forecast:implausible values"}),
    ("flows.stages.nightly_fit.refit_linear", "model", {"forecast:linear expert"}),
    ("flows.stages.fallback.build_windows", "baseline", set[str]()),
    ("flows.stages.loaded_models.Forecaster", "baseline", {"train"}),
    ("flows.stages.loaded_models._explain_missing_champion", "model", set[str]()),
]
STAGES = [("ingest", "model"), ("score", "model"), ("report", "model"), ("train", "stale_model")]
# A training is not the subject, and takes long.
_STUBS = {**STUBS, "train": RuntimeError("no training in this test")}


@pytest.fixture
def night(pipeline: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[..., RunRecord]:
    """Return a function that runs one night of a trained pipeline, by default without other stages than forecast."""
    monkeypatch.setenv("GATECAST_TRAINING__EVERY", "30d")

    def run(stubs: dict[str, object] | None = None) -> RunRecord:
        return run_night(pipeline, ISSUE, _STUBS if stubs is None else stubs)

    return run


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models keep the tables of their file, which halves the time of a forecast."""
    monkeypatch.setattr("flows.stages.nightly_fit.refit_linear", lambda *_: None)


def published_rows(record: RunRecord, status: str) -> pl.DataFrame:
    rows = pl.read_parquet(present(record["forecast"])["path"], hive_partitioning=False)
    assert len(rows) == 72 and set(rows["status"]) == {status}
    assert (rows["reason"].null_count() == 72) == (status == "model")
    assert rows.select(pl.col("^q.*$").is_finite().all()).row(0) == (True,) * 9
    return rows


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("method", "key", "status", "failures"), STORE_FAULTS)
def test_a_store_that_fails(
    method: str, key: str, status: str, failures: set[str], fault: str, night: Callable[..., RunRecord], pipeline: Path
) -> None:
    earlier = pipeline.parent / "store/nights/small/20180831T040000Z.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text('{"issue_time": "2018-08-31T04:00:00+00:00", "score": null}')
    (pipeline.parent / "store/latest").mkdir()
    (pipeline.parent / "store/latest/small.parquet").write_bytes(b"damaged")
    with fault_in_store(method, key, FAULTS[fault]):
        record = night()
    published_rows(record, status)
    assert set(record["failures"]) == failures


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("call", "status", "failures"), CALL_FAULTS)
def test_a_call_that_fails(
    call: str, status: str, failures: set[str], fault: str, night: Callable[..., RunRecord], quick: None
) -> None:
    if call == "flows.nightly.write_metrics":
        stubs = {name: stub for name, stub in _STUBS.items() if name != "score"}
    else:
        stubs = _STUBS
    with fault_in_call(call, FAULTS[fault]):
        record = night(stubs)
    published_rows(record, status)
    assert set(record["failures"]) == failures


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("stage", "status"), STAGES)
def test_a_stage_that_fails(
    stage: str, status: str, fault: str, night: Callable[..., RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    if stage == "train":
        monkeypatch.setenv("GATECAST_TRAINING__EVERY", "1h")
    record = night({**_STUBS, stage: FAULTS[fault]()})
    published_rows(record, status)
    assert stage in record["failures"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_forecast_that_fails_once_comes_from_the_baseline(
    fault: str, night: Callable[..., RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[int]()

    def load_once(*arguments: object) -> object:
        calls.append(1)
        raise FAULTS[fault]()

    monkeypatch.setattr("flows.stages.forecast.load_models", load_once)
    rows = published_rows(night(), "baseline")
    assert rows["reason"].str.starts_with("the model's forecast failed: ").all() and len(calls) == 1


def test_folders_and_stray_files_in_the_store(night: Callable[..., RunRecord], pipeline: Path) -> None:
    store = pipeline.parent / "store"
    for folder in (
        "nights/small",
        "forecasts/pipeline=small",
        "quarantine/small/demand",
        "scores/small",
        "staging/small",
    ):
        for name in ("notes.txt", "x.json", "x.parquet", "20180830T040000Z copy.parquet", ".hidden"):
            (store / folder).mkdir(parents=True, exist_ok=True)
            (store / folder / name).write_bytes(b"stray")
        (store / folder / "20180829T040000Z.json").mkdir()
        (store / folder / "20180829T040000Z.parquet").mkdir()
    (store / "latest/small.parquet").mkdir(parents=True)
    record = night({"report": STUBS["report"]})
    published_rows(record, "model")
    assert set(record["failures"]) == {"forecast:latest"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "champion.json"])
def test_a_folder_in_place_of_a_file_of_the_model(name: str, night: Callable[..., RunRecord], pipeline: Path) -> None:
    (path,) = pipeline.parent.rglob(name)
    path.unlink()
    path.mkdir()
    rows = published_rows(night(), "baseline")
    assert rows["reason"].str.contains(name).all() or name == "manifest.json"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b'{"served": null}', b'{"served": [null]}', b"\xff" * 9]
)
def test_a_damaged_champion_file_lets_the_baseline_serve(content: bytes, trained: Path, tmp_path: Path) -> None:
    assert statuses_with_champion_file(content, trained, tmp_path) == {"baseline"}


def test_flipped_bits_of_the_champion_file_never_stop_a_forecast(trained: Path, tmp_path: Path, quick: None) -> None:
    (path,) = trained.parent.rglob("champion.json")
    content, draw = path.read_bytes(), random.Random(1)
    for number in range(12):
        damaged = bytearray(content)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        found = statuses_with_champion_file(bytes(damaged), trained, tmp_path / str(number))
        assert found in ({"baseline"}, {"model"})


def statuses_with_champion_file(content: bytes, trained: Path, folder: Path) -> set[str]:
    pipeline = Path(shutil.copytree(trained.parent, folder / "copy")) / trained.name
    (path,) = pipeline.parent.rglob("champion.json")
    path.write_bytes(content)
    report = forecast(*open_pipeline(pipeline), _issue_time(pipeline))
    return set(report["status"])


def _issue_time(pipeline: Path) -> datetime:
    return clock.parse_time(ISSUE, open_pipeline(pipeline).settings.pipeline.timezone)


def test_a_second_run_without_a_feed_publishes_the_same_forecast(
    night: Callable[..., RunRecord], pipeline: Path
) -> None:
    stubs = {name: stub for name, stub in _STUBS.items() if name != "ingest"}
    first = night(stubs)
    before = Path(present(first["forecast"])["path"]).read_bytes()
    assert first["failures"] == {}
    for feed in ("load", "temperature"):
        (pipeline.parent / f"{feed}.parquet").unlink()
    second = night(stubs)
    assert set(second["failures"]) == {"ingest:demand", "ingest:weather"} and second["late"] == {}
    assert Path(present(second["forecast"])["path"]).read_bytes() == before


def test_a_degraded_forecast_does_not_replace_a_complete_one(night: Callable[..., RunRecord], pipeline: Path) -> None:
    path = Path(present(night()["forecast"])["path"])
    before = path.read_bytes()
    (model,) = pipeline.parent.rglob("model.onnx")
    model.unlink()
    record = night()
    assert path.read_bytes() == before == (pipeline.parent / "store/latest/small.parquet").read_bytes()
    report = present(record["forecast"])
    assert report["status"] == {"model": 72} and not report["degraded"] and report["path"] == str(path)
    assert "model.onnx does not exist" in record["failures"]["forecast:forecast"]
    path.unlink()
    published_rows(night(), "baseline")


def test_the_command_states_a_failed_copy_with_status_3(pipeline: Path) -> None:
    (pipeline.parent / "store/latest/small.parquet").mkdir(parents=True)
    done = gatecast("forecast", pipeline, "--issue-time", ISSUE)
    assert done.returncode == 3, done.stderr
    assert "Published: 3 series" in done.stdout and "warning: latest failed" in done.stderr
