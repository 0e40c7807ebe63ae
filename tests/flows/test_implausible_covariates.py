"""A covariate in another unit, or with numbers for missing values, in the horizon of a forecast."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from flows import clock
from flows.settings import file as pipeline_file
from flows.stages.ingest import ingest
from storage.schemas.records import FeedReport
from tests.support.pipelines import ISSUE

NAME = "temperature_forecast"


def ingest_weather(pipeline: Path, value: pl.Expr) -> FeedReport:
    """Ingest temperatures with another value from the day before an issue time on, and return the report."""
    settings, store = pipeline_file.open_pipeline(pipeline)
    issue = clock.parse_time(ISSUE, settings.pipeline.timezone, settings.pipeline.issue_at) + timedelta(days=4)
    path = pipeline.parent / "temperature.parquet"
    is_ahead = pl.col("ds") >= (issue - timedelta(days=1)).replace(tzinfo=None)
    rows = pl.read_parquet(path).with_columns(pl.when(is_ahead).then(value).otherwise(NAME).alias(NAME))
    rows.filter(pl.col("ds") < (issue + timedelta(days=3)).replace(tzinfo=None)).write_parquet(path)
    return ingest(settings, store, issue, issue)["feeds"]["weather"]


@pytest.mark.parametrize(
    "check, value", [("unit_jump", pl.col(NAME) * 1000), ("sentinel", pl.lit(-9999.0))], ids=["unit", "sentinel"]
)
def test_no_forecast_uses_an_impossible_covariate(pipeline: Path, check: str, value: pl.Expr) -> None:
    weather = ingest_weather(pipeline, value)
    found = {finding["check"]: finding for finding in weather["findings"]}
    assert found[check]["action"] == "quarantine" and weather["refused"] >= 72


def test_a_feed_may_accept_such_values(pipeline: Path) -> None:
    text = pipeline.read_text().replace("\n[model]", '\n[feed.checks]\nunit_jump = "accept"\n\n[model]')
    pipeline.write_text(text)
    weather = ingest_weather(pipeline, pl.col(NAME) * 1000)
    assert weather["refused"] < 24 and "unit_jump" not in {finding["check"] for finding in weather["findings"]}
