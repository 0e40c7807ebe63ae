"""Series that the model was not fitted on, or hardly: on the sample, with the third company as the new one."""

from __future__ import annotations

import shutil
from datetime import timedelta
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
from storage.store import open_store
from tests.support import made
from tests.support.pipelines import ISSUE, write_pipeline

pytestmark = pytest.mark.training

NEW = "LDC3"
NIGHTS = 14


def load(folder: Path, days: int | None) -> pl.DataFrame:
    """The sample's load, of the new series the last so many days before the issue time and what came."""
    rows = pl.read_parquet(folder / "all.parquet")
    if days is None:
        return rows
    since = pl.lit(ISSUE).str.to_datetime("%Y-%m-%d") - timedelta(days=days)
    return rows.filter((pl.col("series_id") != NEW) | (pl.col("ds") >= since))


def opened(path: Path):
    pipeline = pipeline_file.read(path)
    return pipeline, open_store(pipeline.pipeline.store), clock.parse_time(ISSUE, pipeline.pipeline.timezone)


@pytest.fixture(scope="module")
def without(tmp_path_factory) -> Path:
    """A champion that was fitted on the two other series."""
    path = write_pipeline(tmp_path_factory.mktemp("without"))
    folder = path.parent
    (folder / "load.parquet").rename(folder / "all.parquet")
    load(folder, None).filter(pl.col("series_id") != NEW).write_parquet(folder / "load.parquet")
    pipeline, store, issue = opened(path)
    ingest(pipeline, store, issue, clock.now())
    train(pipeline, store, issue, clock.now())
    return path


def scored(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of the new series of so many nights, and their scores beside the baseline's."""
    pipeline, store, issue = opened(path)
    ingest(pipeline, store, clock.now(), clock.now())
    known = known_actuals(pipeline, store, issue)
    rows = []
    for night in range(NIGHTS):
        at = issue + timedelta(days=night)
        forecast(pipeline, store, at)
        rows.append(forecasts.read(store, pipeline.name, pipeline.pipeline.timezone, at)[0])
    scores = pl.concat(score_forecast(pipeline, store, night, known) for night in rows)
    return pl.concat(rows).filter(series_id=NEW), scores.filter(series_id=NEW)


@pytest.mark.parametrize("days", [None, 21, 5])
def test_a_series_unseen_in_training_is_forecast_by_the_model(without, tmp_path, days):
    """With all of its past, with three weeks, and with five days of it."""
    shutil.copytree(without.parent, tmp_path / "copy")
    path = tmp_path / "copy" / without.name
    load(path.parent, days).write_parquet(path.parent / "load.parquet")
    rows, scores = scored(path)
    assert rows["status"].unique().to_list() == ["model"]
    assert rows["reason"].null_count() == len(rows)
    quantiles = rows.select("^q.*$").to_numpy()
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert len(scores) == 24 * NIGHTS
    assert scores["pinball"].mean() < scores["baseline_pinball"].mean()


def test_a_young_series_beside_old_ones_is_no_identity_of_the_model(tmp_path):
    """An identity that was learned from a week, or was never met, forecasts worse than the unknown one."""
    path = write_pipeline(tmp_path)
    folder = path.parent
    (folder / "load.parquet").rename(folder / "all.parquet")
    load(folder, 21).write_parquet(folder / "load.parquet")
    pipeline, store, issue = opened(path)
    ingest(pipeline, store, issue, clock.now())
    manifest = train(pipeline, store, issue, clock.now())
    assert (manifest["series"], manifest["new_series"]) == (2, 1)
    spec = Forecaster(registry.load(store, pipeline.name, manifest["version"])).spec
    assert spec.series == ("LDC1", "LDC2")
    rows, scores = scored(path)
    assert rows["status"].unique().to_list() == ["model"]
    assert scores["pinball"].mean() < scores["baseline_pinball"].mean()


def test_who_is_new_is_told_beside_the_others():
    """Where all series are young, they are what there is to learn from."""
    panel = made.panel(made.spec(), columns=400)
    end = panel.first + 400
    target = panel.target.layers[0].values

    def young(*columns: int) -> list[bool]:
        target[:] = 1.0
        for row, count in enumerate(columns):
            target[row, : 400 - count] = np.nan
        return has_enough_history(panel, 72, end).tolist()

    assert young(400, 400, 140) == [True, True, False]
    assert young(400, 400, 144) == [True, True, True]
    assert young(100, 90, 60) == [True, True, True]
    assert young(140, 60, 0) == [True, False, False]
