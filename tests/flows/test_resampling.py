"""Feeds finer than the pipeline's grid, from the pipeline file to the as-of view of the history."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.settings import file as pipeline_file
from flows.stages.ingest import ingest
from storage import history, quarantine
from storage.schemas.records import FeedReport
from storage.store import Store, open_store
from tests.support.narrow import as_instant

FILE = """
[pipeline]
name = "p"
store = "./store"
frequency = "{frequency}"
timezone = "Europe/Madrid"

[[feed]]
name = "price"
role = "target"
uri = "{uri}"
valid_time = "t"
values = ["y"]
resample = "{how}"
{more}
"""
QUARTER = timedelta(minutes=15)
CHANGE = datetime(2025, 9, 30, 22, tzinfo=UTC)  # midnight in Madrid


def pipeline_of(
    folder: Path, uri: str, how: str = "mean", frequency: str = "1h", more: str = ""
) -> pipeline_file.Pipeline:
    path = folder / "p.toml"
    path.write_text(FILE.format(uri=uri, how=how, frequency=frequency, more=more))
    return pipeline_file.read(path, {})


def ingest_and_count(settings: pipeline_file.Pipeline, store: Store, as_of: datetime) -> FeedReport:
    """Ingest, check that every row is accounted for, and return the report of the feed."""
    counts = ingest(settings, store, as_of, as_of)["feeds"]["price"]
    assert counts["read"] == counts["accepted"] + counts["refused"] + counts["later"]
    assert counts["accepted"] == counts["added"] + counts["unchanged"] + counts["aggregated"]
    return counts


def prices(days: int) -> pl.DataFrame:
    """Return hourly prices before the change, and quarter-hourly prices after it."""
    hours = [CHANGE + timedelta(hours=i - 24 * days) for i in range(24 * days)]
    quarters = [CHANGE + i * QUARTER for i in range(96 * days)]
    values = np.random.default_rng(0).normal(60, 20, len(hours) + len(quarters)).round(2)
    return pl.DataFrame({"t": [*hours, *quarters], "y": values})


def test_prices_that_change_from_hours_to_quarters(tmp_path: Path) -> None:
    rows = prices(5)
    rows.filter(pl.int_range(pl.len()) != 5 * 24 + 100).write_parquet(tmp_path / "price.parquet")
    settings = pipeline_of(tmp_path, "price.parquet")
    store, at = open_store(settings.pipeline.store), CHANGE + timedelta(days=4, minutes=30)
    counts = ingest_and_count(settings, store, at)
    assert counts["reasons"] == {"incomplete set of values within 1h": 3}
    assert counts["examples"]["incomplete set of values within 1h"].startswith("3 of 4 values within 1h at 2025-10-0")
    # Values of the next day, and of the hour that has begun.
    assert counts["later"] == 96
    assert (counts["added"], counts["aggregated"]) == (24 * 9 - 1, 3 * (24 * 4 - 1))
    assert len(quarantine.read(store, "p", "price")) == 3
    visible = history.read_as_of(store, "p", "price", ["y"], at).filter(pl.col("valid_time") >= CHANGE)
    means = rows.tail(96 * 5).group_by_dynamic("t", every="1h").agg(pl.col("y").mean())
    both = visible.join(means, left_on="valid_time", right_on="t", suffix="_mean")
    assert len(both) == len(visible) == 24 * 4 - 1
    np.testing.assert_allclose(both["y"], both["y_mean"], rtol=1e-14)
    # The feed now has the missing quarter and the rest of the days.
    rows.write_parquet(tmp_path / "price.parquet")
    counts = ingest_and_count(settings, store, at + timedelta(days=3))
    assert (counts["added"], counts["refused"], counts["later"]) == (25, 0, 0)
    assert ingest_and_count(settings, store, at + timedelta(days=3))["added"] == 0


def test_complete_periods_are_requested_from_a_database(tmp_path: Path) -> None:
    """Ingest over a clock change, where seven days before a local midnight is another hour."""
    path, first = tmp_path / "gas.db", datetime(2025, 10, 10, 4, tzinfo=UTC)  # 06:00 in Madrid, the gas day's start
    times = [first + timedelta(hours=i) for i in range(24 * 21 + 1)]
    with sqlite3.connect(path) as connection:
        connection.execute("create table gas (t text, y real)")
        connection.executemany("insert into gas values (?, 1.0)", [(f"{t:%Y-%m-%d %H:%M:%S}",) for t in times])
    more = 'query = "select * from gas where t >= :since and t < :until"\nstart = "2025-10-10"'
    settings = pipeline_of(tmp_path, f"sqlite:///{path}", "sum", "1d", more)
    settings = settings.model_copy(
        update={"pipeline": settings.pipeline.model_copy(update={"day_start": datetime(2025, 1, 1, 6).time()})}
    )
    store = open_store(settings.pipeline.store)
    for day in range(1, 22):
        assert ingest_and_count(settings, store, first + timedelta(days=day, hours=1))["refused"] == 0
    known = history.read_as_of(store, "p", "price", ["y"], times[-1] + timedelta(hours=1))
    assert known["y"].to_list() == [24.0] * 15 + [25.0] + [24.0] * 5


def test_parts_that_become_available_after_t_change_nothing(tmp_path: Path) -> None:
    """Change parts of aggregated values that become available or are revised one by one."""
    dice = np.random.default_rng(1)
    rows = prices(6)
    rows = rows.with_columns(known=pl.col("t") + pl.Series(dice.integers(1, 30, len(rows))) * timedelta(hours=1))
    rows = pl.concat(
        [rows, rows.sample(fraction=0.2, seed=2).with_columns(pl.col("y") + 5, pl.col("known") + timedelta(days=1))]
    )
    at = CHANGE + timedelta(days=4)
    after = pl.col("known") > at

    def visible(table: pl.DataFrame) -> pl.DataFrame:
        table.write_parquet(tmp_path / "price.parquet")
        settings = pipeline_of(tmp_path, "price.parquet", more='available_at = "known"')
        store = open_store(str(tmp_path / f"store-{len(list(tmp_path.glob('store-*')))}"))
        ingest_and_count(settings, store, at + timedelta(days=30))
        return history.read_as_of(store, "p", "price", ["y"], at)

    before = visible(rows)
    assert as_instant(before["valid_time"].max()) > CHANGE + timedelta(days=2)
    later = rows.filter(after)
    assert len(later) > 100
    for changed in (
        rows.with_columns(pl.when(after).then(pl.col("y") * 7).otherwise("y").alias("y")),
        pl.concat([rows, rows.with_columns(pl.col("y") + 9, known=pl.lit(at) + timedelta(hours=1))]),
        rows.filter(~after),
    ):
        assert visible(changed).equals(before)
    newest = rows.filter(~after & (pl.col("t") >= CHANGE + timedelta(days=1))).sort("known").head(1)
    corrected = pl.concat([rows, newest.with_columns(pl.col("y") + 1, known=pl.lit(at))])
    assert not visible(corrected).equals(before)


@pytest.mark.parametrize(
    ("how", "frequency", "error"),
    [
        ("average", "1h", r"feed 'price': resample: must be 'mean', 'sum' or 'last', got .average."),
        ("sum", "1b", r"resample of a feed is for frequency"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, how: str, frequency: str, error: str) -> None:
    with pytest.raises(pipeline_file.PipelineFileError, match=error):
        pipeline_of(tmp_path, "price.parquet", how, frequency)
