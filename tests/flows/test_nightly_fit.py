"""Fit of the linear expert for one issue time: what a published forecast is made from."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from flows import clock
from flows.settings import file as pipeline_file
from flows.stages.fallback import no_deadline
from flows.stages.forecast import forecast
from flows.stages.ingest import ingest
from flows.stages.loaded_models import LoadedModel, load_champion
from flows.stages.nightly_fit import NightlyFit
from flows.stages.panels import to_micros, visible_panel
from model.linear_expert import LINEAR_TABLES
from model.windows import build_windows
from storage import forecasts
from storage.store import Store, open_store
from tests.support.pipelines import ISSUE

SERIES = ("LDC1", "LDC2", "LDC3")
COEFFICIENTS = LINEAR_TABLES["coefficients"]


def opened(path: Path) -> tuple[pipeline_file.Pipeline, Store, LoadedModel]:
    settings = pipeline_file.read(path, {})
    store = open_store(settings.pipeline.store)
    model, _ = load_champion(settings, store, clock.parse_time(ISSUE, settings.pipeline.timezone))
    assert model is not None
    return settings, store, model


def test_a_forecast_ten_days_after_the_training_uses_tables_of_its_own_issue_time(pipeline: Path) -> None:
    settings, store, model = opened(pipeline)
    issue_time = clock.parse_time("2018-09-11", settings.pipeline.timezone)
    ingest(settings, store, issue_time, issue_time)
    fit = NightlyFit(settings, store, SERIES, issue_time, no_deadline)
    newest = fit.apply(model)
    assert fit.digests.keys() == set(SERIES)
    tables, defaults = newest.tables(), model.forecaster.tables()
    assert not np.array_equal(tables[COEFFICIENTS], defaults[COEFFICIENTS])
    assert all(
        np.array_equal(tables[LINEAR_TABLES[name]], defaults[LINEAR_TABLES[name]]) for name in ("scaling", "share")
    )

    first = settings.grid.first_step(to_micros(issue_time))
    panel = visible_panel(settings, store, SERIES, issue_time, first - 336, 360)
    count = len(SERIES)
    window = build_windows(
        model.forecaster.spec, panel, np.arange(count), np.full(count, first), np.full(count, to_micros(issue_time))
    )
    forecast(settings, store, issue_time)
    rows, _ = forecasts.read(store, settings.name, settings.pipeline.timezone, issue_time)
    published = rows.sort("series_id", "valid_time")["q50"].to_numpy().reshape(count, 24)
    assert np.array_equal(newest.quantiles(window)[:, :, 4], published)
    assert not np.array_equal(model.forecaster.quantiles(window)[:, :, 4], published)


def test_values_that_became_known_later_do_not_change_the_tables(pipeline: Path) -> None:
    settings, store, model = opened(pipeline)
    issue_time = clock.parse_time(ISSUE, settings.pipeline.timezone)

    def digests() -> dict[str, bytes]:
        fit = NightlyFit(settings, store, SERIES, issue_time, no_deadline)
        fit.apply(model)
        return fit.digests

    before = digests()
    source = pipeline.parent / "load.parquet"
    later = pl.col("ds") >= pl.datetime(2018, 9, 1)
    pl.read_parquet(source).with_columns(y=pl.when(later).then(pl.col("y") * 3).otherwise("y")).write_parquet(source)
    now = issue_time + timedelta(days=20)
    ingest(settings, store, now, now)
    assert digests() == before


def test_without_time_the_tables_of_the_file_serve(pipeline: Path) -> None:
    settings, store, model = opened(pipeline)
    issue_time = clock.parse_time(ISSUE, settings.pipeline.timezone)
    fit = NightlyFit(settings, store, SERIES, issue_time, lambda: False)
    assert fit.apply(model) is model.forecaster and not fit.digests


def test_excluded_days_change_the_tables(pipeline: Path) -> None:
    settings, store, model = opened(pipeline)
    issue_time = clock.parse_time(ISSUE, settings.pipeline.timezone)
    training = settings.training.model_copy(update={"exclude": ((issue_time.date() - timedelta(days=40),) * 2,)})
    without = settings.model_copy(update={"training": training})
    fits = [NightlyFit(one, store, SERIES, issue_time, no_deadline) for one in (settings, without)]
    for fit in fits:
        fit.apply(model)
    assert fits[0].digests.keys() == fits[1].digests.keys() and fits[0].digests != fits[1].digests
