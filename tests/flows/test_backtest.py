"""A backtest publishes the bytes of the real forecasts, uses no later data and changes nothing in the store."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows import clock
from flows.settings import file as pipeline_file
from flows.stages.backfill import backfill
from flows.stages.backtest import Plan, backtest
from flows.stages.forecast import forecast
from storage.schemas import DataError
from storage.store import FolderStore
from tests.support.commands import gatecast, json_report
from tests.support.narrow import as_number, open_folder
from tests.support.pipelines import ISSUE, write_pipeline

DAY = date.fromisoformat(ISSUE)
FORECAST = "forecasts/pipeline=small/issue_date=2018-09-01/20180901T040000Z.parquet"


def open_pipeline(path: Path) -> tuple[pipeline_file.Pipeline, FolderStore]:
    settings = pipeline_file.read(path, {})
    return settings, open_folder(settings.pipeline.store)


def hashes(folder: Path, *parts: str) -> dict[str, str]:
    paths = [path for part in parts for path in [folder / part, *(folder / part).rglob("*")] if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_a_backtest_publishes_the_bytes_of_the_real_forecast(pipeline: Path, tmp_path: Path) -> None:
    settings, store = open_pipeline(pipeline)
    real = Path(forecast(settings, store, clock.parse_time(ISSUE, "America/New_York"))["path"]).read_bytes()
    before = hashes(store.root, "models", "forecasts", "scores", "latest")
    report = backtest(settings, store, Plan(DAY, DAY), tmp_path / "out", clock.now())
    assert (tmp_path / "out/replay" / FORECAST).read_bytes() == real
    assert hashes(store.root, "models", "forecasts", "scores", "latest") == before
    # The real training is reused. A new one could differ, because the clock may end it.
    assert report["models"][0]["version"] in str(list(before))
    rows = pl.read_parquet(tmp_path / "out/forecasts.parquet")
    assert rows.equals(pl.read_parquet(real, hive_partitioning=False))


def test_values_that_became_available_later_change_only_the_scores(pipeline: Path, tmp_path: Path) -> None:
    settings, store = open_pipeline(pipeline)
    plan = Plan(DAY, DAY + timedelta(days=2), retrain_every=timedelta(days=30))
    backtest(settings, store, plan, tmp_path / "before", clock.now())
    feed = pipeline.parent / "load.parquet"
    after = pl.col("ds") >= pl.datetime(2018, 9, 3)
    pl.read_parquet(feed).with_columns(y=pl.when(after).then(pl.col("y") * 3).otherwise("y")).write_parquet(feed)
    backtest(settings, store, plan, tmp_path / "after", clock.now())
    forecasts = [hashes(tmp_path / name / "replay", "forecasts") for name in ("before", "after")]
    assert forecasts[0] == forecasts[1] and len(forecasts[0]) == 3
    scores = [pl.read_parquet(tmp_path / name / "scores.parquet") for name in ("before", "after")]
    assert as_number(scores[0]["mae"].sum()) < as_number(scores[1]["mae"].sum())


def test_the_scores_can_be_recomputed_from_forecasts_and_feed(pipeline: Path, tmp_path: Path) -> None:
    settings, store = open_pipeline(pipeline)
    plan = Plan(DAY, DAY + timedelta(days=1), retrain_every=timedelta(days=30))
    report = backtest(settings, store, plan, tmp_path / "out", clock.now())
    scores = pl.read_parquet(tmp_path / "out/scores.parquet")
    assert scores.columns == [
        "series_id", "issue_time", "step", "n", "mae", "mase", "pinball", "coverage_80", "baseline_mae",
        "baseline_pinball",
    ]  # fmt: skip
    rows = pl.read_parquet(tmp_path / "out/forecasts.parquet")
    zone = pl.col("ds").dt.replace_time_zone("America/New_York", non_existent="null", ambiguous="earliest")
    feed = pl.read_parquet(pipeline.parent / "load.parquet").with_columns(valid_time=zone.dt.convert_time_zone("UTC"))
    both = rows.join(feed.drop_nulls("valid_time"), on=["series_id", "valid_time"], maintain_order="left")
    assert len(both) == len(scores) == 2 * 3 * 24
    levels = np.arange(1, 10) / 10
    error = both["y"].to_numpy()[:, None] - both.select("^q[0-9]+$").to_numpy()
    pinball = np.maximum(levels * error, (levels - 1) * error).mean(axis=1)
    np.testing.assert_allclose(scores["pinball"], pinball, rtol=1e-12)
    np.testing.assert_allclose(scores["mae"], np.abs(error[:, 4]), rtol=1e-12)
    covered = (error[:, 0] >= 0) & (error[:, 8] <= 0)
    assert scores["coverage_80"].to_list() == covered.astype(float).tolist()
    assert report["scores"]["pinball"] == pytest.approx(pinball.mean(), rel=1e-12)
    assert report["scores"]["n"] == len(both)


@pytest.mark.process
def test_a_backtest_that_was_killed_is_resumed(pipeline: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    when = ["--start", ISSUE, "--end", "2018-09-25", "--retrain-every", "30d", "--json"]
    arguments = ["backtest", pipeline, *when, "--output", out]
    command = [sys.executable, "-m", "flows", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    forecasts = out / "replay/forecasts"
    while process.poll() is None and len(list(forecasts.rglob("*.parquet"))) < 4:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = {path: path.stat().st_mtime_ns for path in forecasts.rglob("*.parquet")}
    assert 4 <= len(first) < 25 and not (out / "forecasts.parquet").exists()
    done = gatecast(*arguments)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in first} == first, "existing forecasts are not repeated"
    assert json_report(done)["issues"] == 25
    assert pl.read_parquet(out / "forecasts.parquet")["issue_time"].n_unique() == 25
    whole = gatecast(*arguments[:-1], tmp_path / "whole", "--json")
    assert whole.returncode == 0
    assert hashes(out, "forecasts.parquet", "scores.parquet") == hashes(
        tmp_path / "whole", "forecasts.parquet", "scores.parquet"
    )


def test_an_output_folder_with_other_content_is_refused(pipeline: Path, tmp_path: Path) -> None:
    settings, store = open_pipeline(pipeline)
    out = tmp_path / "out"
    backtest(settings, store, Plan(DAY, DAY), out, clock.now())
    with pytest.raises(DataError, match=r"another backtest \(end differs\)"):
        backtest(settings, store, Plan(DAY, DAY + timedelta(days=1)), out, clock.now())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("precious")
    with pytest.raises(DataError, match="not empty"):
        backtest(settings, store, Plan(DAY, DAY), tmp_path / "mine", clock.now())
    with pytest.raises(DataError, match="no issue time"):
        backtest(settings, store, Plan(DAY, DAY - timedelta(days=1)), None, clock.now())


@pytest.mark.training
def test_a_backtest_needs_no_earlier_ingest_or_training(tmp_path: Path) -> None:
    path = write_pipeline(tmp_path, max_updates=20)
    done = gatecast("backtest", path, "--start", ISSUE, "--end", "2018-09-02", "--no-promotion", "--json")
    report = json_report(done)
    assert done.returncode == 0, done.stderr
    assert report["issues"] == 2 and report["status"] == {"model": 144}
    assert len(report["models"]) == 2, "every = 1d is the default"
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"history", "quarantine"}


def test_missing_forecasts_are_published_from_the_data_known_then(pipeline: Path) -> None:
    settings, store = open_pipeline(pipeline)
    at = clock.parse_time(ISSUE, "America/New_York")
    existing = Path(forecast(settings, store, at)["path"])
    stamp = existing.stat().st_mtime_ns
    settings = settings.model_copy(
        update={"training": settings.training.model_copy(update={"every": timedelta(days=30)})}
    )
    report = backfill(settings, store, DAY, DAY + timedelta(days=2), clock.now())
    assert report["issues"] == 3 and len(report["published"]) == 2 and not report["degraded"]
    assert existing.stat().st_mtime_ns == stamp
    assert report["score"] is not None and report["score"]["scored"] == 3
    assert report["page"] is not None and report["page"]["colour"] == "green"
    skill = report["score"]["summary"]["last_28_nights"]["skill"]
    assert skill is not None and f"pinball was {abs(skill):.0%}" in report["page"]["sentence"]
    before = hashes(store.root, "forecasts")
    # The forecast stage at that issue time writes the same bytes.
    for published in report["published"]:
        forecast(settings, store, clock.parse_time(published["issue_time"], "UTC"))
    assert hashes(store.root, "forecasts") == before
    assert backfill(settings, store, DAY, DAY + timedelta(days=2), clock.now())["published"] == []
    with pytest.raises(DataError, match="still to come"):
        backfill(settings, store, DAY, date(2999, 1, 1), clock.now())
