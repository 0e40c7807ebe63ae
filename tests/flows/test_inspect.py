"""`gatecast inspect` on a trained pipeline: the page, its content and its errors."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows import clock
from flows.page.inspection import Inspection
from flows.settings import file as pipeline_file
from flows.stages.inspect import collect_inspection
from storage.store import open_store
from tests.support.commands import Finished, block, clear, gatecast, gatecast_process, json_report
from tests.support.pipelines import ISSUE

pytestmark = pytest.mark.training


def inspect(path: Path, *arguments: object) -> Finished:
    return gatecast("inspect", path, "--series", "LDC2", "--issue-time", ISSUE, *arguments)


def inspection_of_ldc2(path: Path, issue: str = ISSUE) -> Inspection:
    """Return the content of the page about LDC2."""
    settings = pipeline_file.read(path)
    zone = settings.pipeline.timezone
    return collect_inspection(
        settings, open_store(settings.pipeline.store), "LDC2", clock.parse_time(issue, zone), clock.now()
    )


def test_the_page_needs_no_network(pipeline: Path, tmp_path: Path) -> None:
    done = inspect(pipeline, "-o", tmp_path / "page.html", "--json")
    assert done.returncode == 0, done.stderr
    report = json_report(done)
    page = (tmp_path / "page.html").read_text()
    version = json_report(gatecast("models", pipeline, "--json"))["champion"]
    assert report["model_version"] == version and version in page
    assert "forecast issued Sat 1 Sep 2018 00:00 EDT" in page
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert len(report["moved_by_segments"]) == 14
    assert re.search(r"<bdi>target 1 day before</bdi>.*<bdi>forecast of the linear expert</bdi>", page)
    linear = report["linear"]
    parts = [*linear["days"].values(), *linear["covariates"].values(), linear["calendar"], linear["remainder"]]
    assert linear["reference"] + sum(parts) == pytest.approx(linear["forecast"])
    assert report["responses"]["temperature_forecast"] != 0
    assert report["moved"]["temperature_forecast"] > 0 < report["moved_by_horizon"]["temperature_forecast"]


def test_without_an_output_the_page_is_in_the_store(pipeline: Path) -> None:
    done = inspect(pipeline)
    assert done.returncode == 0, done.stderr
    (page,) = (pipeline.parent / "store" / "inspections" / "small").glob("*.html")
    assert page.name.startswith("20180901T040000Z-LDC2-")
    assert f"Wrote {page}" in done.stdout


def test_the_page_shows_the_published_forecast(pipeline: Path) -> None:
    assert "No forecast of this issue time is published" in inspection_of_ldc2(pipeline).notes[0]
    published = json_report(gatecast("forecast", pipeline, "--issue-time", ISSUE, "--json"))
    inspection = inspection_of_ldc2(pipeline)
    assert inspection.notes == ()
    rows = pl.read_parquet(published["path"]).filter(pl.col("series_id") == "LDC2")
    np.testing.assert_array_equal(rows.select("^q.*$").to_numpy(), inspection.quantiles)
    # Values after the issue time are in the feed but not ingested yet.
    assert np.isnan(inspection.actuals).all()
    assert gatecast("ingest", pipeline, "--as-of", "2018-09-03").returncode == 0
    load = pl.read_parquet(pipeline.parent / "load.parquet").filter(pl.col("series_id") == "LDC2")
    day = load.filter(pl.col("ds").dt.date() == pl.date(2018, 9, 1)).sort("ds")["y"].to_numpy()
    np.testing.assert_allclose(inspection_of_ldc2(pipeline).actuals, day, rtol=1e-6)


def test_values_ingested_later_are_noted(pipeline: Path) -> None:
    """Change the last day of the feed after the forecast was published."""
    assert gatecast("forecast", pipeline, "--issue-time", ISSUE).returncode == 0
    load = pl.read_parquet(pipeline.parent / "load.parquet")
    late = load.with_columns(y=pl.when(pl.col("ds") >= pl.datetime(2018, 8, 31)).then(pl.col("y") * 2).otherwise("y"))
    late.write_parquet(pipeline.parent / "load.parquet")
    assert gatecast("ingest", pipeline, "--as-of", ISSUE).returncode == 0
    (note,) = inspection_of_ldc2(pipeline).notes
    assert "differs by up to" in note and "only later" in note


def test_the_model_of_the_issue_time_is_opened_not_the_newest(pipeline: Path) -> None:
    assert gatecast("forecast", pipeline, "--issue-time", ISSUE).returncode == 0
    first = json_report(gatecast("models", pipeline, "--json"))["champion"]
    assert gatecast("ingest", pipeline, "--as-of", "2018-09-20").returncode == 0
    done = gatecast(
        "train",
        pipeline,
        "--as-of",
        "2018-09-20",
        "--json",
        GATECAST_TRAINING__MAX_UPDATES="20",
        GATECAST_TRAINING__SEED="8",
    )
    assert done.returncode == 0, done.stderr
    assert inspection_of_ldc2(pipeline).manifest["version"] == first


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--series", "LDC9", "--issue-time", ISSUE), 1, ("'LDC9'", "LDC1, LDC2, LDC3")),
        (("--series", "LDC1", "--issue-time", "2001-01-01"), 1, ("no target value was known", "2001-01-01")),
        (("--series", "LDC1", "--issue-time", "2018-08-01"), 1, ("trained on data after the issue time",)),
        (("--series", "LDC1", "--issue-time", "2018-12-24"), 1, ("only 0 of 336 values", "baseline")),
        (("--series", "LDC1", "--issue-time", "yesterday"), 2, ("yesterday", "ISO 8601")),
    ],
)
def test_errors_name_the_problem(
    pipeline: Path, arguments: tuple[str, ...], status: int, words: tuple[str, ...]
) -> None:
    clear(gatecast("inspect", pipeline, *arguments), status, *words)


def test_a_missing_training_extra_is_named(pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "onnx.py").write_text("raise ModuleNotFoundError('not installed', name='onnx')")
    done = gatecast_process("inspect", pipeline, "--series", "LDC1", "--issue-time", ISSUE, PYTHONPATH=str(tmp_path))
    clear(done, 1, "onnx", "gatecast[train]")


def test_opening_a_model_needs_no_torch_and_no_prefect(pipeline: Path, tmp_path: Path) -> None:
    done = inspect(pipeline, "--json")
    assert done.returncode == 0
    blocked = str(block(tmp_path, "torch", "prefect", "pandas"))
    done = gatecast_process("inspect", pipeline, "--series", "LDC1", "--issue-time", ISSUE, PYTHONPATH=blocked)
    assert done.returncode == 0, done.stderr
