"""Exceedance probabilities P(value > x): columns of the forecast file, and output of the command line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from flows.settings import file as pipeline_file
from flows.settings.file import PipelineFileError
from tests.support.commands import block, clear, gatecast, gatecast_process, json_report
from tests.support.narrow import as_number
from tests.support.pipelines import ISSUE, write_pipeline

pytestmark = pytest.mark.training

REQUESTED = {"GATECAST_FORECAST__ABOVE": "[150, 1000.5]"}
COLUMNS = ["p_above_150", "p_above_1000_5"]


@pytest.fixture(scope="module")
def with_softmax(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_pipeline(tmp_path_factory.mktemp("softmax"), head="softmax")
    assert gatecast("ingest", path, "--as-of", ISSUE).returncode == 0
    done = gatecast("train", path, "--as-of", ISSUE)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def softmax(with_softmax: Path, tmp_path: Path) -> Path:
    shutil.copytree(with_softmax.parent, tmp_path / "copy")
    return tmp_path / "copy" / with_softmax.name


def published(path: Path, *arguments: str, **environment: str) -> tuple[dict[str, Any], pl.DataFrame]:
    done = gatecast("forecast", path, "--issue-time", ISSUE, "--json", *arguments, **environment)
    assert done.returncode in (0, 3), done.stderr
    report = json_report(done)
    return report, pl.read_parquet(report["path"], hive_partitioning=False)


def assert_between_levels(rows: pl.DataFrame, column: str, threshold: float, slack: float = 0.0) -> None:
    """Assert that a threshold between two quantiles has a probability between their levels."""
    quantiles = rows.select("^q.*$").to_numpy()
    passed = (quantiles <= threshold).sum(axis=1)
    probabilities = rows[column].to_numpy()
    assert (probabilities <= 1 - np.where(passed > 0, passed / 10, 0.0) + 1e-4 + slack).all()
    assert (probabilities >= np.where(passed < 9, 1 - (passed + 1) / 10, 0.0) - 1e-4 - slack).all()


def test_the_probabilities_are_the_last_columns_and_change_no_other(softmax: Path) -> None:
    _, plain = published(softmax)
    _, rows = published(softmax, **REQUESTED)
    assert rows.columns == [*plain.columns, *COLUMNS]
    assert rows.drop(COLUMNS).equals(plain)
    for column, threshold in zip(COLUMNS, (150, 1000.5), strict=True):
        assert rows[column].dtype == pl.Float64
        assert_between_levels(rows, column, threshold)
    assert (rows["p_above_150"] >= rows["p_above_1000_5"]).all()
    highest = as_number(rows.filter(series_id="LDC3")["p_above_1000_5"].max())
    assert highest > 0.5 > as_number(rows["p_above_1000_5"].min())


def test_the_probabilities_need_no_training_extra(softmax: Path, tmp_path: Path) -> None:
    blocked = str(block(tmp_path, "torch", "onnx", "pandas", "prefect"))
    done = gatecast_process("forecast", softmax, "--issue-time", ISSUE, "--json", PYTHONPATH=blocked, **REQUESTED)
    rows = pl.read_parquet(json_report(done)["path"], hive_partitioning=False)
    assert json_report(done)["status"] == {"model": 72} and rows[COLUMNS[0]].null_count() == 0


def test_baseline_rows_have_probabilities_too(softmax: Path) -> None:
    """Forecast a series with too little context, and one without any value."""
    load = pl.read_parquet(softmax.parent / "load.parquet")
    young = load.filter(pl.col("series_id") == "LDC1", pl.col("ds") >= pl.datetime(2018, 8, 29))
    blank = young.tail(5).with_columns(y=pl.lit(None, pl.Float64))
    added = [young.with_columns(series_id=pl.lit("young")), blank.with_columns(series_id=pl.lit("blank"))]
    pl.concat([load, *added]).write_parquet(softmax.parent / "load.parquet")
    assert gatecast("ingest", softmax, "--as-of", ISSUE).returncode == 0
    _, rows = published(softmax, **REQUESTED)
    by = dict(rows.group_by("series_id").agg(pl.col("status").first()).iter_rows())
    assert by["young"] == "baseline"
    for name in [name for name, status in by.items() if status == "baseline"]:
        mine = rows.filter(series_id=name)
        assert mine.select(COLUMNS).to_numpy().min() >= 0 and mine.select(COLUMNS).to_numpy().max() <= 1
        # The few errors of the baseline's leave long straight lines between its quantiles.
        assert_between_levels(mine, "p_above_150", 150, slack=0.35 if name == "blank" else 0.0)


def test_the_number_of_shards_changes_no_byte(softmax: Path) -> None:
    report, _ = published(softmax, **REQUESTED)
    whole = Path(report["path"]).read_bytes()
    published(softmax, GATECAST_SCALE__SHARDS="3", **REQUESTED)
    assert Path(report["path"]).read_bytes() == whole


def test_the_command_prints_probabilities_without_changing_the_file(softmax: Path) -> None:
    _, plain = published(softmax)
    report, rows = published(softmax, "--above", "1000.5", "--above", "150")
    assert rows.equals(plain)
    assert [row["series_id"] for row in report["above"]] == plain["series_id"].to_list()
    _, columns = published(softmax, **REQUESTED)
    for column in COLUMNS:
        assert [row[column] for row in report["above"]] == columns[column].to_list()
    shown = gatecast("forecast", softmax, "--issue-time", ISSUE, "--above", "150")
    assert "p_above_150" in shown.stdout and "2018-09-01 00:00 EDT" in shown.stdout


def test_a_backtest_has_probabilities(softmax: Path, tmp_path: Path) -> None:
    done = gatecast(
        "backtest", softmax, "--start", "2018-09-01", "--end", "2018-09-02", "--retrain-every", "30d",
        "--output", tmp_path / "out", "--json", GATECAST_TRAINING__MAX_UPDATES="20", **REQUESTED,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    rows = pl.read_parquet(tmp_path / "out" / "forecasts.parquet")
    assert rows.select(COLUMNS).null_count().sum_horizontal().item() == 0


def test_a_quantile_head_has_no_probabilities(pipeline: Path) -> None:
    clear(gatecast("forecast", pipeline, "--issue-time", ISSUE, "--above", "150"), 2, "--above 150", 'head = "softmax"')
    with pytest.raises(PipelineFileError, match=r'forecast.above: P\(value > x\) needs model.head = "softmax"'):
        pipeline_file.read(pipeline, REQUESTED)


@pytest.mark.parametrize("wrong", ["[2, 1]", "[1, 1]", "[nan]", "[0.1234567]", "5", '["x"]'])
def test_wrong_thresholds_are_refused(softmax: Path, wrong: str) -> None:
    with pytest.raises(PipelineFileError, match=r"forecast.above"):
        pipeline_file.read(softmax, {"GATECAST_FORECAST__ABOVE": wrong})


def test_negative_thresholds_have_a_column_name(softmax: Path) -> None:
    _, rows = published(softmax, GATECAST_FORECAST__ABOVE="[-2.5, 0]")
    assert rows.columns[-2:] == ["p_above_minus_2_5", "p_above_0"]
    assert (rows["p_above_minus_2_5"] == 1).all()
