"""New series, on the sample: the third series is unknown to the model, or has a short history."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows import clock
from flows.settings import file as pipeline_file
from flows.stages.forecast import forecast
from flows.stages.ingest import ingest
from flows.stages.panels import known_actuals
from flows.stages.score import score_forecast
from flows.stages.train import train
from model.forecaster import Forecaster
from model.windows import has_enough_history
from storage import forecasts, registry
from storage.store import Store, open_store
from tests.support import made
from tests.support.narrow import as_number
from tests.support.pipelines import ISSUE, write_pipeline

pytestmark = pytest.mark.training

NEW = "LDC3"
ISSUE_TIMES = 14


def read_load(folder: Path, days: int | None) -> pl.DataFrame:
    """Return the sample's load, and of the new series only the last `days` days before the issue time and later."""
    rows = pl.read_parquet(folder / "all.parquet")
    if days is None:
        return rows
    since = pl.lit(ISSUE).str.to_datetime("%Y-%m-%d") - timedelta(days=days)
    return rows.filter((pl.col("series_id") != NEW) | (pl.col("ds") >= since))


def open_pipeline(path: Path) -> tuple[pipeline_file.Pipeline, Store, datetime]:
    settings = pipeline_file.read(path)
    return settings, open_store(settings.pipeline.store), clock.parse_time(ISSUE, settings.pipeline.timezone)


@pytest.fixture(scope="module")
def trained_without_new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a pipeline whose champion was fitted on the two other series."""
    path = write_pipeline(tmp_path_factory.mktemp("without"))
    folder = path.parent
    (folder / "load.parquet").rename(folder / "all.parquet")
    read_load(folder, None).filter(pl.col("series_id") != NEW).write_parquet(folder / "load.parquet")
    settings, store, issue = open_pipeline(path)
    ingest(settings, store, issue, clock.now())
    train(settings, store, issue, clock.now())
    return path


def forecast_and_score(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Forecast ISSUE_TIMES issue times, and return rows and scores of the new series."""
    settings, store, issue = open_pipeline(path)
    ingest(settings, store, clock.now(), clock.now())
    known = known_actuals(settings, store, issue)
    rows = []
    for number in range(ISSUE_TIMES):
        at = issue + timedelta(days=number)
        forecast(settings, store, at)
        rows.append(forecasts.read(store, settings.name, settings.pipeline.timezone, at)[0])
    scores = pl.concat(score_forecast(settings, store, number, known) for number in rows)
    return pl.concat(rows).filter(series_id=NEW), scores.filter(series_id=NEW)


@pytest.mark.parametrize("days", [None, 21, 5])
def test_the_model_forecasts_a_series_that_it_was_not_fitted_on(
    trained_without_new: Path, tmp_path: Path, days: int | None
) -> None:
    """Forecast with the whole history, with three weeks and with five days of it."""
    shutil.copytree(trained_without_new.parent, tmp_path / "copy")
    path = tmp_path / "copy" / trained_without_new.name
    read_load(path.parent, days).write_parquet(path.parent / "load.parquet")
    rows, scores = forecast_and_score(path)
    assert rows["status"].unique().to_list() == ["model"]
    assert rows["reason"].null_count() == len(rows)
    quantiles = rows.select("^q.*$").to_numpy()
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert len(scores) == 24 * ISSUE_TIMES
    assert as_number(scores["pinball"].mean()) < as_number(scores["baseline_pinball"].mean())


def test_a_series_with_a_short_history_has_no_embedding(tmp_path: Path) -> None:
    """Train with three weeks of one series, too few for an embedding of its own."""
    path = write_pipeline(tmp_path)
    folder = path.parent
    (folder / "load.parquet").rename(folder / "all.parquet")
    read_load(folder, 21).write_parquet(folder / "load.parquet")
    settings, store, issue = open_pipeline(path)
    ingest(settings, store, issue, clock.now())
    manifest = train(settings, store, issue, clock.now())
    assert (manifest["series"], manifest["new_series"]) == (2, 1)
    spec = Forecaster(registry.load(store, settings.name, manifest["version"])).spec
    assert spec.series == ("LDC1", "LDC2")
    rows, scores = forecast_and_score(path)
    assert rows["status"].unique().to_list() == ["model"]
    assert as_number(scores["pinball"].mean()) < as_number(scores["baseline_pinball"].mean())


def test_enough_history_depends_on_the_other_series() -> None:
    """Compare series of different lengths. If all are short, all have an embedding."""
    panel = made.panel(made.spec(), columns=400)
    end = panel.first + 400
    target = panel.target.layers[0].values

    def enough_history(*columns: int) -> list[bool]:
        target[:] = 1.0
        for row, count in enumerate(columns):
            target[row, : 400 - count] = np.nan
        return [bool(entry) for entry in has_enough_history(panel, 72, end)]

    assert enough_history(400, 400, 140) == [True, True, False]
    assert enough_history(400, 400, 144) == [True, True, True]
    assert enough_history(100, 90, 60) == [True, True, True]
    assert enough_history(140, 60, 0) == [True, False, False]
