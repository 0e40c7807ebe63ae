"""Feeds finer than the pipeline's grid, from the pipeline file to what is known at an issue time."""

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
from storage.store import Store, open_store

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


def pipeline_of(folder: Path, uri: str, how: str = "mean", frequency: str = "1h", more: str = ""):
    path = folder / "p.toml"
    path.write_text(FILE.format(uri=uri, how=how, frequency=frequency, more=more))
    return pipeline_file.read(path, {})


def counted(pipeline, store: Store, as_of: datetime) -> dict:
    """Counts of an ingest, which must account for every row."""
    counts = ingest(pipeline, store, as_of, as_of)["feeds"]["price"]
    assert counts["read"] == counts["accepted"] + counts["refused"] + counts["later"]
    assert counts["accepted"] == counts["added"] + counts["unchanged"] + counts["aggregated"]
    return counts


def prices(days: int) -> pl.DataFrame:
    """Hours up to the change, quarters after it."""
    hours = [CHANGE + timedelta(hours=i - 24 * days) for i in range(24 * days)]
    quarters = [CHANGE + i * QUARTER for i in range(96 * days)]
    values = np.random.default_rng(0).normal(60, 20, len(hours) + len(quarters)).round(2)
    return pl.DataFrame({"t": [*hours, *quarters], "y": values})


def test_prices_over_the_change_to_quarters(tmp_path):
    rows = prices(5)
    rows.filter(pl.int_range(pl.len()) != 5 * 24 + 100).write_parquet(tmp_path / "price.parquet")
    pipeline = pipeline_of(tmp_path, "price.parquet")
    store, at = open_store(pipeline.pipeline.store), CHANGE + timedelta(days=4, minutes=30)
    counts = counted(pipeline, store, at)
    assert counts["reasons"] == {"3 of 4 values within 1h": 3}
    # Of the day after and of the hour that has begun.
    assert counts["later"] == 96
    assert (counts["added"], counts["aggregated"]) == (24 * 9 - 1, 3 * (24 * 4 - 1))
    assert len(quarantine.read(store, "p", "price")) == 3
    seen = history.read_as_of(store, "p", "price", ["y"], at).filter(pl.col("valid_time") >= CHANGE)
    means = rows.tail(96 * 5).group_by_dynamic("t", every="1h").agg(pl.col("y").mean())
    both = seen.join(means, left_on="valid_time", right_on="t", suffix="_mean")
    assert len(both) == len(seen) == 24 * 4 - 1
    np.testing.assert_allclose(both["y"], both["y_mean"], rtol=1e-14)
    # The missing quarter comes, and the rest of the days.
    rows.write_parquet(tmp_path / "price.parquet")
    counts = counted(pipeline, store, at + timedelta(days=3))
    assert (counts["added"], counts["refused"], counts["later"]) == (25, 0, 0)
    assert counted(pipeline, store, at + timedelta(days=3))["added"] == 0


def test_a_database_is_asked_for_whole_periods(tmp_path):
    """Seven days before a local midnight is another hour where the clock has changed."""
    place, first = tmp_path / "gas.db", datetime(2025, 10, 10, 4, tzinfo=UTC)  # 06:00 in Madrid, the gas day's start
    times = [first + timedelta(hours=i) for i in range(24 * 21 + 1)]
    with sqlite3.connect(place) as connection:
        connection.execute("create table gas (t text, y real)")
        connection.executemany("insert into gas values (?, 1.0)", [(f"{t:%Y-%m-%d %H:%M:%S}",) for t in times])
    more = 'query = "select * from gas where t >= :since and t < :until"\nstart = "2025-10-10"'
    pipeline = pipeline_of(tmp_path, f"sqlite:///{place}", "sum", "1d", more)
    pipeline = pipeline.model_copy(
        update={"pipeline": pipeline.pipeline.model_copy(update={"day_start": datetime(2025, 1, 1, 6).time()})}
    )
    store = open_store(pipeline.pipeline.store)
    for night in range(1, 22):
        assert counted(pipeline, store, first + timedelta(days=night, hours=1))["refused"] == 0
    found = history.read_as_of(store, "p", "price", ["y"], times[-1] + timedelta(hours=1))
    assert found["y"].to_list() == [24.0] * 15 + [25.0] + [24.0] * 5


def test_what_becomes_known_after_t_changes_nothing(tmp_path):
    """The as-of law for folded values, whose parts become known and are revised one by one."""
    dice = np.random.default_rng(1)
    rows = prices(6)
    rows = rows.with_columns(known=pl.col("t") + pl.Series(dice.integers(1, 30, len(rows))) * timedelta(hours=1))
    rows = pl.concat(
        [rows, rows.sample(fraction=0.2, seed=2).with_columns(pl.col("y") + 5, pl.col("known") + timedelta(days=1))]
    )
    at = CHANGE + timedelta(days=4)
    after = pl.col("known") > at

    def seen(table: pl.DataFrame) -> pl.DataFrame:
        table.write_parquet(tmp_path / "price.parquet")
        pipeline = pipeline_of(tmp_path, "price.parquet", more='available_at = "known"')
        store = open_store(str(tmp_path / f"store-{len(list(tmp_path.glob('store-*')))}"))
        counted(pipeline, store, at + timedelta(days=30))
        return history.read_as_of(store, "p", "price", ["y"], at)

    before = seen(rows)
    assert before["valid_time"].max() > CHANGE + timedelta(days=2)
    later = rows.filter(after)
    assert len(later) > 100
    for changed in (
        rows.with_columns(pl.when(after).then(pl.col("y") * 7).otherwise("y").alias("y")),
        pl.concat([rows, rows.with_columns(pl.col("y") + 9, known=pl.lit(at) + timedelta(hours=1))]),
        rows.filter(~after),
    ):
        assert seen(changed).equals(before)
    newest = rows.filter(~after & (pl.col("t") >= CHANGE + timedelta(days=1))).sort("known").head(1)
    corrected = pl.concat([rows, newest.with_columns(pl.col("y") + 1, known=pl.lit(at))])
    assert not seen(corrected).equals(before)


@pytest.mark.parametrize(
    ("how", "frequency", "error"),
    [
        ("average", "1h", r"feed\.0\.resample: must be 'mean', 'sum' or 'last', got .average."),
        ("sum", "1b", r"resample of a feed is for frequency"),
    ],
)
def test_wrong_settings_are_named(tmp_path, how, frequency, error):
    with pytest.raises(pipeline_file.PipelineFileError, match=error):
        pipeline_of(tmp_path, "price.parquet", how, frequency)
