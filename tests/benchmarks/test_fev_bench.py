"""Tests of the adapter for fev-bench: tables and pipeline file of a window, predictions, and a run with real fev."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.fev_bench import __main__ as adapter
from benchmarks.fev_bench import pipeline, predictions, tables, windows
from flows.settings import file as pipeline_file
from tests.support.commands import Finished, gatecast

START = datetime(2024, 1, 1, 5)


@dataclass
class SmallTask:
    """Attributes of a task of fev that the adapter reads."""

    horizon: int = 2
    seasonality: int = 24
    max_context_length: int | None = None
    eval_metric: str | dict[str, Any] = "SQL"
    quantile_levels: list[float] = field(default_factory=lambda: [0.1, 0.5, 0.975])
    id_column: str = "id"
    timestamp_column: str = "at"
    target_columns: list[str] = field(default_factory=lambda: ["load", "value"])
    known_dynamic_columns: list[str] = field(default_factory=lambda: ["Load forecast", "text"])
    past_dynamic_columns: list[str] = field(default_factory=lambda: ["series_id"])
    freq: str = "h"


def lists(start: datetime, length: int, items: list[str], values: dict[str, list[Any]]) -> pl.DataFrame:
    """Return one row per item, with lists of hourly times and of values."""
    times = [start + timedelta(hours=step) for step in range(length)]
    count = len(items)
    columns = {name: pl.Series([one] * count) for name, one in values.items()}
    return pl.DataFrame({"id": items, "at": [times] * count, **columns})


def small_tables(task: SmallTask) -> tables.WindowTables:
    """Return the tables of a window of three past hours, which leaves out the second of three items."""
    items = ["a/b", "ü"]
    past = lists(START, 3, items, {
        "load": [1.0, float("nan"), 3.0], "value": [4, 5, 6], "Load forecast": [1, 2, 3], "text": ["x", "y", "z"],
        "series_id": [7.0, 8.0, 9.0],
    })  # fmt: skip
    future = lists(START + timedelta(hours=3), 2, items, {"Load forecast": [4, 5], "text": ["x", "y"]})
    return tables.window_tables(task, ["a/b", "left out", "ü"], past, future)


def test_every_target_of_every_item_is_a_series_with_its_own_covariates() -> None:
    window = small_tables(SmallTask())
    target, known, observed = (window.feeds[name] for name in ("target", "known", "observed"))
    assert target.group_by("series_id", maintain_order=True).agg("value").rows() == [
        ("0-0", [1.0, 3.0]), ("0-1", [4.0, 5.0, 6.0]), ("2-0", [1.0, 3.0]), ("2-1", [4.0, 5.0, 6.0]),
    ]  # fmt: skip
    assert known.filter(series_id="2-1")["known_Load forecast"].to_list() == [1, 2, 3, 4, 5]
    assert observed.filter(series_id="2-1")["observed_series_id"].to_list() == [7, 8, 9]
    assert window.horizon["series_id"].unique(maintain_order=True).to_list() == ["0-0", "2-0", "0-1", "2-1"]


def test_no_target_or_observed_value_after_the_cutoff_is_written(tmp_path: Path) -> None:
    window = small_tables(SmallTask())
    window.write(tmp_path)
    issue_time = window.horizon["issue_time"].unique().item()
    assert issue_time.replace(tzinfo=None) == START + timedelta(hours=3)
    for name in ("target", "observed"):
        assert (pl.read_parquet(tmp_path / f"{name}.parquet")["valid_time"] < issue_time).all()
    end = pl.read_parquet(tmp_path / "known.parquet")["valid_time"].max()
    assert end == issue_time + timedelta(hours=1)


@pytest.mark.parametrize("freq", pipeline.FREQUENCIES)
def test_the_pipeline_file_of_a_task_is_valid(tmp_path: Path, freq: str) -> None:
    task = SmallTask(freq=freq)
    path = tmp_path / "pipeline.toml"
    path.write_text(pipeline.pipeline_text(task, small_tables(task), "5s"))
    settings = pipeline_file.read(path, {})
    assert (settings.pipeline.horizon, settings.pipeline.season) == (2, 24)
    assert settings.pipeline.quantile_levels == (0.1, 0.5, 0.975)
    assert settings.covariates("known_future") == ("known_Load forecast",)
    assert settings.covariates("observed") == ("observed_series_id",)
    assert f"{settings.pipeline.issue_at:%H:%M}" == "08:00"
    assert (f"{settings.pipeline.day_start:%H:%M}" == "08:00") == (freq == "D")


def test_periods_may_begin_within_an_hour(tmp_path: Path) -> None:
    task = SmallTask()
    window = small_tables(task)
    window = replace(window, horizon=window.horizon.with_columns(pl.col("issue_time") + timedelta(minutes=20)))
    path = tmp_path / "pipeline.toml"
    path.write_text(pipeline.pipeline_text(task, window, "5s"))
    assert pipeline_file.read(path, {}).pipeline.grid_offset == timedelta(minutes=20)


def test_tasks_that_gatecast_cannot_forecast_have_a_reason() -> None:
    assert pipeline.reason_to_skip(SmallTask()) is None
    assert "'W-SUN' is not one of Gatecast's" in str(pipeline.reason_to_skip(SmallTask(freq="W-SUN")))
    assert "max_context_length is 100" in str(pipeline.reason_to_skip(SmallTask(max_context_length=100)))


def published(horizon: pl.DataFrame) -> pl.DataFrame:
    """Return forecast rows in another order, whose quantiles show their series and step."""
    rows = horizon.with_columns(pl.int_range(pl.len()).cast(pl.Float64).alias("q50")).select(
        *tables.KEYS, "q50", q10=pl.col("q50") - 0.5, q97_5=pl.col("q50") + 2.0
    )
    return rows.sample(fraction=1.0, shuffle=True, seed=1)


@pytest.mark.parametrize(("metric", "first"), [("SQL", 0.0), ({"name": "rmse"}, 0.5)])
def test_predictions_are_in_the_order_of_fev(metric: str | dict[str, Any], first: float) -> None:
    task = SmallTask(eval_metric=metric)
    horizon = small_tables(task).horizon
    by_target = predictions.to_predictions(task, horizon, published(horizon))
    assert list(by_target) == ["load", "value"]
    levels = [[item["0.5"] for item in by_target[target]] for target in by_target]
    assert levels == [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]
    item = by_target["load"][0]
    assert item["predictions"][0] == pytest.approx(first)
    assert (item["0.1"][0], item["0.975"][0]) == (-0.5, 2.0)


def test_a_row_without_a_forecast_is_an_error() -> None:
    task = SmallTask()
    horizon = small_tables(task).horizon
    with pytest.raises(predictions.MissingRows, match=r"1 of 8 rows have no forecast \(first: "):
        predictions.to_predictions(task, horizon, published(horizon).head(7))


def test_versions_are_those_of_gatecast_except_for_one() -> None:
    wanted = (Path(adapter.__file__).parent / "requirements.txt").read_text().splitlines()
    pinned = (adapter.ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in wanted if not line.startswith("#") and line not in pinned] == [
        "datasets==4.8.5", "fev==0.10.0", "fsspec==2026.2.0",
    ]  # fmt: skip


def test_without_fev_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fev", None)
    assert adapter.main(["tasks.yaml", "--output", "results.csv"]) == 1
    assert "fev is not installed: pip install -r" in capsys.readouterr().err


_TASKS = """
tasks:
- task_name: small/load
  dataset_path: {data}
  horizon: 24
  num_windows: 2
  seasonality: 168
  eval_metric: SQL
  extra_metrics: [MASE]
  quantile_levels: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
  known_dynamic_columns: [temperature forecast]
- task_name: missing
  dataset_path: {data}.missing.parquet
"""


def write_benchmark(folder: Path) -> Path:
    """Write a dataset of two series, of which one ends three days earlier, and a benchmark file with it."""
    rng = np.random.default_rng(2)
    rows = []
    for item, days in (("north/1", 70), ("süd", 67)):
        hours = np.arange(days * 24)
        temperature = 10 + 5 * np.sin(hours * np.pi / 12) + rng.standard_normal(len(hours))
        times = [datetime(2024, 1, 1) + timedelta(hours=int(hour)) for hour in hours]
        target = 50 - temperature + rng.standard_normal(len(hours))
        rows.append({"id": item, "timestamp": times, "target": target, "temperature forecast": temperature})
    long = pl.DataFrame(rows).explode("timestamp", "target", "temperature forecast")
    long.write_parquet(folder / "data.parquet")
    path = folder / "tasks.yaml"
    path.write_text(_TASKS.format(data=folder / "data.parquet"))
    return path


@pytest.mark.training
def test_a_small_task_of_fev_is_forecast_and_evaluated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fev = pytest.importorskip("fev", reason="fev is not installed: benchmarks/fev_bench/requirements.txt")
    import datasets

    commands: list[str] = []

    def run(command: list[str], **_: object) -> Finished:
        commands.append(command[1])
        return gatecast(*command[1:])

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(windows, "subprocess", SimpleNamespace(run=run))
    for key, value in (("MODEL__HIDDEN_SIZE", "16"), ("TRAINING__MAX_UPDATES", "60"), ("PROMOTION__FOLDS", "7")):
        monkeypatch.setenv(f"GATECAST_{key}", value)
    output, store = tmp_path / "results.csv", tmp_path / "store"
    arguments = [str(write_benchmark(tmp_path)), "--output", str(output), "--store", str(store)]

    assert adapter.main([*arguments, "--only", "missing,small/load", "--budget", "300s"]) == 1
    printed = capsys.readouterr()
    assert "missing failed: " in printed.err
    assert "96 model rows" in printed.out, printed
    # Each series is forecast at its own cutoff.
    window = ["ingest", "forecast", "forecast"]
    assert commands == ["--version", "ingest", "train", *window[1:], *window]
    result = pl.read_csv(output).row(0, named=True)
    assert (result["model_name"], result["task_name"], result["num_forecasts"]) == ("gatecast", "small/load", 4)
    assert 0 < result["SQL"] < 1
    assert result["test_error"] == result["SQL"]
    assert set(fev.analysis.TASK_DEF_COLUMNS) <= result.keys()
    assert result["training_time_s"] > result["inference_time_s"] > 0
    parts = store.glob("small-load/*/store/history/fev-bench/target/**/*.parquet")
    ends = pl.read_parquet(list(parts)).group_by("series_id").agg(end=pl.col("valid_time").max()).sort("series_id")
    assert [f"{end:%m-%d %H}" for end in ends["end"]] == ["03-09 23", "03-06 23"]

    commands.clear()
    assert adapter.main([*arguments, "--only", "small/load", "--budget", "300s"]) == 0
    assert commands == ["--version"]
    assert pl.read_csv(output).row(0, named=True) == result
    for only, missing in ((["--only", "other"], "other"), ([], "an energy task of fev-bench")):
        assert adapter.main([*arguments, *only]) == 2
        assert f"does not have {missing}, but has small/load, missing." in capsys.readouterr().err
