"""Forecasts against what came: published from the real sample, scored, and recomputed by other means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from flows import pipeline_file
from flows.stages.forecast import forecast
from flows.stages.ingest import ingest
from flows.stages.score import judge
from storage.schemas import DataError, score_schema
from storage.store import Store
from tests.conftest import write_pipeline

NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2018, 10, 1, tzinfo=UTC)


def night(day: int) -> datetime:
    """Midnight of a September day in New York, UTC."""
    return datetime(2018, 9, day, tzinfo=NEW_YORK).astimezone(UTC)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Pipeline and store with the history of September and five nights of baseline forecasts."""
    pipeline = pipeline_file.read(write_pipeline(tmp_path_factory.mktemp("scores")), {})
    store = Store(pipeline.pipeline.store)
    ingest(pipeline, store, NOW, NOW)
    for day in range(1, 6):
        forecast(pipeline, store, night(day), needs_champion=False)
    return pipeline, store


def rows_of(store: Store, issue_time: datetime) -> pl.DataFrame:
    (path,) = Path(store.root).rglob(f"forecasts/**/{issue_time:%Y%m%dT%H%M%SZ}.parquet")
    return pl.read_parquet(path, hive_partitioning=False)


def test_a_baseline_row_scores_as_the_baseline_to_the_last_bit(published):
    pipeline, store = published
    scores = judge(pipeline, store, rows_of(store, night(3)))
    assert dict(scores.schema) == score_schema()
    assert (len(scores), scores["status"].unique().to_list()) == (72, ["baseline"])
    for column in ("pinball", "absolute_error", "covered_80"):
        assert scores[column].equals(scores[f"baseline_{column}"].alias(column))


def test_rows_that_did_not_come_true_yet_are_not_there(published):
    pipeline, store = published
    forecast(pipeline, store, NOW - timedelta(hours=3), needs_champion=False)
    scores = judge(pipeline, store, rows_of(store, NOW - timedelta(hours=3)))
    # Three hours are over; each ends in history when it ends.
    assert scores["step"].unique().sort().to_list() == [1, 2, 3]
    assert judge(pipeline, store, rows_of(store, night(3)).clear()).is_empty()


def test_rows_of_several_nights_or_another_grid_are_refused(published):
    pipeline, store = published
    rows = rows_of(store, night(3))
    with pytest.raises(DataError, match="one issue time"):
        judge(pipeline, store, pl.concat([rows, rows_of(store, night(4))]))
    with pytest.raises(DataError, match="grid"):
        judge(pipeline, store, rows.with_columns(pl.col("step") + 1))
