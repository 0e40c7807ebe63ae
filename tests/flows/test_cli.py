"""Exit statuses, one clear error for each wrong input, and the output of the commands."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.support.commands import block, clear, gatecast, gatecast_process, json_report
from tests.support.pipelines import ISSUE, copy_of, write_pipeline


def test_a_complete_forecast_is_0(pipeline: Path) -> None:
    done = gatecast("forecast", pipeline, "--issue-time", ISSUE, "--json")
    assert done.returncode == 0
    assert json_report(done)["status"] == {"model": 72}


def test_a_series_without_enough_history_is_baseline_and_3(pipeline: Path) -> None:
    folder = pipeline.parent
    load = pl.read_parquet(folder / "load.parquet")
    young = load.filter(pl.col("series_id") == "LDC1", pl.col("ds") >= pl.datetime(2018, 8, 30))
    unseen = young.with_columns(series_id=pl.lit("dark"), y=pl.lit(None, pl.Float64))
    young = young.with_columns(series_id=pl.lit("young"))
    pl.concat([load, young, unseen]).write_parquet(folder / "load.parquet")
    assert gatecast("ingest", pipeline, "--as-of", ISSUE).returncode == 0
    done = gatecast("forecast", pipeline, "--issue-time", ISSUE, "--json")
    assert done.returncode == 3
    rows = pl.read_parquet(json_report(done)["path"])
    assert rows.group_by("series_id").len().sort("series_id").rows() == [
        ("LDC1", 24), ("LDC2", 24), ("LDC3", 24), ("dark", 24), ("young", 24)
    ]  # fmt: skip
    degraded = rows.filter(pl.col("status") == "baseline")
    assert set(degraded["series_id"]) == {"dark", "young"}
    assert degraded["reason"].null_count() == 0
    assert degraded["model_version"].null_count() == len(degraded)
    assert rows.select(pl.col("^q.*$").is_finite().all()).row(0) == (True,) * 9


def test_missing_pipeline_file_is_2(tmp_path: Path) -> None:
    clear(gatecast("check", tmp_path / "no.toml"), 2, "no.toml", "no such file")


def test_wrong_pipeline_file_is_2(tmp_path: Path) -> None:
    path = write_pipeline(tmp_path)
    path.write_text(path.read_text().replace("horizon = 24", "horizon = 0"))
    clear(gatecast("ingest", path), 2, "pipeline.horizon", "0", "greater than or equal to 1")


def test_wrong_command_line_is_2(tmp_path: Path) -> None:
    assert gatecast("forecast").returncode == 2
    path = write_pipeline(tmp_path)
    clear(gatecast("forecast", path, "--issue-time", "yesterday"), 2, "yesterday", "ISO 8601")


def test_empty_feed_is_1(tmp_path: Path) -> None:
    path = write_pipeline(tmp_path)
    pl.read_parquet(tmp_path / "load.parquet").clear().write_parquet(tmp_path / "load.parquet")
    clear(gatecast("ingest", path), 1, "demand", "no rows")
    (tmp_path / "load.csv").write_text("")
    path.write_text(path.read_text().replace("load.parquet", "load.csv"))
    clear(gatecast("ingest", path), 1, "demand", "load.csv", "empty")


def test_missing_file_and_missing_column_are_1(tmp_path: Path) -> None:
    path = write_pipeline(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('values = ["y"]', 'values = ["megawatt"]'))
    clear(gatecast("ingest", path), 1, "demand", "megawatt", "series_id")
    path.write_text(text.replace("load.parquet", "gone.parquet"))
    clear(gatecast("ingest", path), 1, "demand", "gone.parquet", "no such file")
    histories = [path.name for path in (tmp_path / "store/history").glob("*/*")]
    assert histories == ["weather"], "the feeds that can be used are stored, and nothing of the other one"


def test_text_in_a_number_column(tmp_path: Path) -> None:
    path = write_pipeline(tmp_path)
    load = pl.read_parquet(tmp_path / "load.parquet")
    path.write_text(path.read_text().replace("load.parquet", "load.csv"))
    load.with_columns(y=pl.lit("high")).write_csv(tmp_path / "load.csv")
    clear(gatecast("ingest", path), 1, "demand", "'y'", "'high'", "row 1")
    # A few such cells are refused, with their text, and the rest is used.
    cells = load.with_columns(
        y=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("n.a.")).otherwise(pl.col("y").cast(pl.String))
    )
    cells.write_csv(tmp_path / "load.csv")
    done = gatecast("ingest", path, "--json")
    assert done.returncode == 0
    counts = json_report(done)["feeds"]["demand"]
    assert counts["reasons"]["y is not a number"] == 1
    assert counts["read"] == counts["added"] + counts["unchanged"] + counts["refused"] + counts["later"]


def test_a_forecast_without_a_champion_is_the_baseline_unless_that_is_an_error(tmp_path: Path) -> None:
    path = write_pipeline(tmp_path)
    assert gatecast("ingest", path).returncode == 0
    arguments = ("forecast", path, "--issue-time", ISSUE)
    failing = {"GATECAST_FORECAST__ON_FAILURE": "error"}
    clear(gatecast(*arguments, **failing), 1, 'on_failure = "error"', "no champion", "gatecast train")
    assert not list((tmp_path / "store" / "forecasts").rglob("*.parquet"))
    done = gatecast(*arguments)
    assert done.returncode == 3, done.stderr
    assert "series baseline: there is no champion\nTo train a model: gatecast train" in done.stdout


@pytest.mark.training
def test_too_little_history_to_train_is_1(tmp_path: Path) -> None:
    path = write_pipeline(tmp_path)
    assert gatecast("ingest", path, "--as-of", "2018-02-20").returncode == 0
    clear(gatecast("train", path, "--as-of", "2018-02-20"), 1, "too little history")


def test_a_champion_of_the_future_is_not_used(pipeline: Path) -> None:
    failing = {"GATECAST_FORECAST__ON_FAILURE": "error"}
    clear(gatecast("forecast", pipeline, "--issue-time", "2018-08-01", **failing), 1, "after the issue time")


def test_a_tampered_model_is_never_loaded(pipeline: Path) -> None:
    (model,) = pipeline.parent.rglob("model.onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    done = gatecast("forecast", pipeline, "--issue-time", ISSUE)
    assert done.returncode == 3 and "72 baseline rows" in done.stdout and "sha256 differs" in done.stdout
    clear(
        gatecast("forecast", pipeline, "--issue-time", ISSUE, GATECAST_FORECAST__ON_FAILURE="error"),
        1,
        "sha256 differs",
    )


def test_quiet_and_json(pipeline: Path) -> None:
    quiet = gatecast("forecast", pipeline, "--issue-time", ISSUE, "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    models = json_report(gatecast("models", pipeline, "--json"))
    assert models["champion"] == models["models"][0]["version"]
    assert models["models"][0]["decision"]["promoted"]


def test_rollback(pipeline: Path) -> None:
    version = json_report(gatecast("models", pipeline, "--json"))["champion"]
    assert gatecast("models", pipeline, "--rollback", version).returncode == 0
    clear(gatecast("models", pipeline, "--rollback", "19990101T000000Z-none"), 1, "does not exist")


def test_init_then_check_then_ingest(tmp_path: Path) -> None:
    assert gatecast("init", tmp_path / "new").returncode == 0
    path = tmp_path / "new" / "pipeline.toml"
    checked = gatecast("check", path)
    assert checked.returncode == 0
    assert checked.stdout.splitlines()[-1].endswith(f"gatecast nightly {path} --issue-time newest")
    assert gatecast("ingest", path).returncode == 0
    clear(gatecast("init", tmp_path / "new"), 1, "there already")


@pytest.mark.process
@pytest.mark.parametrize("command", [["report", "--output"], ["inspect", "--series", "LDC1", "--output"]])
def test_a_folder_is_no_output_file(pipeline: Path, tmp_path: Path, command: list[str]) -> None:
    done = gatecast(command[0], pipeline, *command[1:], str(tmp_path))
    assert done.returncode == 2 and "is a directory" in done.stderr


def test_an_empty_version_is_no_model(pipeline: Path) -> None:
    clear(gatecast("models", pipeline, "--rollback", ""), 1, "does not exist")


@pytest.mark.parametrize("stage", ["check", "models"])
def test_single_stages_import_no_prefect(trained: Path, tmp_path: Path, stage: str) -> None:
    """Without Prefect they start in about a second."""
    copy = copy_of(trained, tmp_path / "copy")
    done = gatecast_process(stage, copy, "--json", PYTHONPATH=str(block(tmp_path, "prefect")))
    assert done.returncode == 0, done.stderr
