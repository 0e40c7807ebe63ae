"""Sample paths of a published forecast: their order comes from what was known at the issue time."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import gatecast
from flows.settings import file as pipeline_file
from flows.settings.file import OpenPipeline
from flows.stages import sample_paths as stage
from flows.stages.backfill import backfill
from flows.stages.fallback import no_deadline
from flows.stages.forecast import forecast
from storage import forecasts, history, layout
from storage.schemas import INSTANT
from storage.store import open_store
from tests.support.narrow import as_number
from tests.support.report_store import ISSUE, LEVELS, ZONE, write_pipeline_file

HOUR = timedelta(hours=1)
SAMPLES = {"GATECAST_FORECAST__SAMPLES": "40"}


def make(folder: Path, nights: int, names: tuple[str, ...] = ("A", "B")) -> OpenPipeline:
    """Return a pipeline with `nights` forecasts of 100 +- 10 and actuals whose errors are one shift of a whole night.

    The error of B is that of A with the opposite sign.
    """
    settings = pipeline_file.read(write_pipeline_file(folder), SAMPLES)
    store = open_store(settings.pipeline.store)
    random = np.random.default_rng(5)
    tables = []
    issues = [(ISSUE.astimezone(ZONE) - timedelta(days=back)).astimezone(ISSUE.tzinfo) for back in range(nights + 1)]
    for issue in sorted(issues):
        times = [issue + step * HOUR for step in range(24)]
        shift = random.normal()
        rows = [
            pl.DataFrame({
                "series_id": name, "issue_time": issue, "valid_time": times, "step": range(1, 25),
                **{f"q{round(100 * level)}": 100 + 10 * (level - 0.5) for level in LEVELS},
                "status": "model", "reason": None, "model_version": "v",
            }) for name in names
        ]  # fmt: skip
        forecasts.publish(
            store, "made", str(ZONE), issue, rows, LEVELS, lambda: forecasts.ForecastMetadata(None, ""),
            targets={"demand": "y"},
        )  # fmt: skip
        if issue < ISSUE:
            for number, name in enumerate(names):
                values = 100 + (-1) ** number * shift + 0.01 * random.normal(size=24)
                tables.append(pl.DataFrame({"series_id": name, "valid_time": times, "y": values}))
    if tables:
        add_actuals(OpenPipeline(settings, store), pl.concat(tables))
    return OpenPipeline(settings, store)


def add_actuals(pipeline: OpenPipeline, rows: pl.DataFrame, available: datetime | None = None) -> None:
    known = pl.col("valid_time") + HOUR if available is None else pl.lit(available)
    rows = rows.with_columns(valid_time=pl.col("valid_time").cast(INSTANT)).unique(["series_id", "valid_time"])
    rows = rows.with_columns(available_at=known.cast(INSTANT)).sort("series_id", "valid_time")
    history.append(pipeline.store, "made", "demand", rows, ISSUE)


def written(pipeline: OpenPipeline) -> pl.DataFrame:
    assert stage.write_sample_paths(*pipeline, ISSUE, no_deadline) is not None
    return gatecast.read_samples(pipeline.settings.pipeline.store, "made")


def dependence(pipeline: OpenPipeline) -> dict[str, int]:
    metadata = pipeline.store.read_metadata(layout.sample_paths("made", ISSUE, str(ZONE)))
    counts: dict[str, int] = json.loads(metadata["gatecast.dependence"])
    return counts


def test_paths_move_together_as_past_errors_did(tmp_path: Path) -> None:
    pipeline = make(tmp_path, 50)
    rows = written(pipeline)
    assert dependence(pipeline) == {"errors": 2, "days": 0, "none": 0}
    assert rows.columns == [
        "pipeline", "series_id", "issue_time", "issue_time_local", "valid_time", "valid_time_local", "step", "sample",
        "value",
    ]  # fmt: skip
    assert len(rows) == 2 * 40 * 24
    by_step = rows.group_by("series_id", "step").agg(pl.col("value").median(), pl.col("value").std().alias("std"))
    assert by_step["value"].to_numpy() == pytest.approx(100)
    means = rows.group_by("series_id", "sample").agg(pl.col("value").mean()).sort("series_id", "sample")
    a, b = (means.filter(series_id=name)["value"].to_numpy() for name in "AB")
    assert a.std() == pytest.approx(by_step["std"].mean(), rel=0.1), "the steps of a path move together"
    assert np.corrcoef(a, b)[0, 1] < -0.95, "the series move against each other"


def test_sums_peaks_and_hours_above_a_threshold_follow(tmp_path: Path) -> None:
    rows = written(make(tmp_path, 30))
    paths = rows.group_by("series_id", "sample").agg(
        total=pl.col("value").sum(), peak=pl.col("value").max(), hours=(pl.col("value") > 103).sum()
    )
    total = paths.filter(series_id="A")["total"]
    assert as_number(total.quantile(0.9)) > 2400 + 24  # independent hours would give 2400 + 9
    assert 0 < as_number((paths["hours"] > 0).mean()) < 1


def test_later_knowledge_changes_no_byte(tmp_path: Path) -> None:
    pipeline = make(tmp_path, 30)
    written(pipeline)
    key = layout.sample_paths("made", ISSUE, str(ZONE))
    before = pipeline.store.get(key)
    changed = pl.DataFrame({"series_id": "A", "valid_time": [ISSUE - step * HOUR for step in range(1, 400)]})
    add_actuals(pipeline, changed.with_columns(y=pl.lit(-5.0)), available=ISSUE + HOUR)
    written(pipeline)
    assert pipeline.store.get(key) == before


def test_with_few_nights_the_order_is_that_of_past_days(tmp_path: Path) -> None:
    pipeline = make(tmp_path, 10)
    rows = written(pipeline)
    assert dependence(pipeline) == {"errors": 0, "days": 2, "none": 0}
    means = rows.group_by("series_id", "sample").agg(pl.col("value").mean())
    assert means["value"].std() == pytest.approx(rows["value"].std(), rel=0.2)


def test_without_a_past_each_path_keeps_its_rank(tmp_path: Path) -> None:
    pipeline = make(tmp_path, 0)
    rows = written(pipeline)
    assert dependence(pipeline) == {"errors": 0, "days": 0, "none": 2}
    assert rows.filter(series_id="A", step=3)["value"].is_sorted()
    assert rows.group_by("sample").agg(pl.col("value").n_unique())["value"].to_list() == [1] * 40


def test_a_series_with_a_gap_has_another_night_for_it(tmp_path: Path) -> None:
    pipeline = make(tmp_path, 30)
    missing = pl.DataFrame(
        {"series_id": ["B"], "valid_time": [ISSUE - 30 * HOUR], "y": [None]}, schema_overrides={"y": pl.Float64}
    )
    add_actuals(pipeline, missing, available=ISSUE - HOUR)
    rows = written(pipeline)
    assert dependence(pipeline)["errors"] == 2
    assert rows["value"].null_count() == 0


def test_they_are_outside_the_glob_of_forecasts(tmp_path: Path) -> None:
    pipeline = make(tmp_path, 3)
    written(pipeline)
    folder = Path(pipeline.settings.pipeline.store)
    assert len(list(folder.glob("forecasts/**/*.parquet"))) == 4
    assert [path.relative_to(folder).as_posix() for path in folder.glob("samples/**/*.parquet")] == [
        "samples/pipeline=made/issue_date=2026-10-26/20261025T230000Z.parquet"
    ]


def test_a_failure_and_the_deadline_leave_the_forecast_without_paths(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = make(tmp_path, 3)
    written(pipeline)
    assert stage.write_sample_paths(*pipeline, ISSUE, lambda: False) is None
    assert "No time was left for sample paths" in caplog.text
    with pytest.raises(gatecast.DataError, match="no sample paths"):
        gatecast.read_samples(pipeline.settings.pipeline.store, "made")


def test_bounds_hold(tmp_path: Path) -> None:
    settings, store = make(tmp_path, 25)
    bounds = settings.pipeline.bounds.model_copy(update={"min": 99.0, "max": 101.0})
    section = settings.pipeline.model_copy(update={"bounds": bounds})
    rows = written(OpenPipeline(settings.model_copy(update={"pipeline": section}), store))
    assert rows["value"].min() == 99 and rows["value"].max() == 101


def test_a_forecast_writes_them_if_requested(tmp_path: Path) -> None:
    settings, store = make(tmp_path, 10)
    report = forecast(settings, store, ISSUE, needs_champion=False)
    assert report["samples"] == store.uri(layout.sample_paths("made", ISSUE, str(ZONE)))
    rows = gatecast.read_samples(settings.pipeline.store, "made")
    quantiles = gatecast.read(settings.pipeline.store, "made").select("series_id", "step", "q50")
    medians = rows.group_by("series_id", "step").agg(pl.col("value").median())
    both = medians.join(quantiles, on=["series_id", "step"])
    assert both["value"].to_list() == pytest.approx(both["q50"].to_list(), rel=1e-3)
    without = settings.model_copy(update={"forecast": settings.forecast.model_copy(update={"samples": 0})})
    assert "samples" not in forecast(without, store, ISSUE, needs_champion=False)


@pytest.mark.training
def test_a_backfill_writes_them_after_all_its_forecasts(tmp_path: Path) -> None:
    settings, store = make(tmp_path, 26)
    missing = forecasts.list_issue_times(store, "made")[-3:-1]
    for issue in missing:
        store.remove(layout.forecast("made", issue, str(ZONE)))
    first, last = (issue.astimezone(ZONE).date() for issue in missing)
    report = backfill(settings, store, first, last, ISSUE + HOUR)
    assert [entry["samples"] for entry in report["published"]] == [
        store.uri(layout.sample_paths("made", issue, str(ZONE))) for issue in missing
    ]
