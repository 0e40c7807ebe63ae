"""Pipeline files on the embedded sample, for tests."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from flows import clock
from flows.settings import file as pipeline_file
from storage import history
from storage.store import open_store

SAMPLES = Path(__file__).parents[2] / "storage" / "samples"
SHARED = Path(__file__).parents[3] / "shared" / "data"
ISSUE = "2018-09-01"


PIPELINE = """
[pipeline]
name = "small"
store = "./store"
frequency = "1h"
timezone = "America/New_York"
holidays = "US"
horizon = 24
context = 336
season = 168
bounds = {{ min = 0.0 }}

[[feed]]
name = "demand"
role = "target"
uri = "load.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
time_zone = "America/New_York"

[[feed]]
name = "weather"
role = "known_future"
uri = "temperature.parquet"
valid_time = "ds"
values = ["temperature_forecast"]
time_zone = "America/New_York"

[model]
hidden_size = 16
members = 1
head = "{head}"

[training]
budget = "300s"
max_updates = {max_updates}
window = "all"

[promotion]
folds = 7
"""


def write_pipeline(folder: Path, head: str = "quantile", max_updates: int = 400) -> Path:
    """A pipeline file and eight months of the sample beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    since = pl.col("ds") >= pl.datetime(2018, 2, 1)
    for name in ("load", "temperature"):
        pl.read_parquet(SAMPLES / f"{name}.parquet").filter(since).write_parquet(folder / f"{name}.parquet")
    path = folder / "small.toml"
    path.write_text(PIPELINE.format(head=head, max_updates=max_updates))
    return path


def copy_of(trained: Path, folder: Path) -> Path:
    """The same pipeline file with the same store, in a folder that is not there yet."""
    return Path(shutil.copytree(trained.parent, folder)) / trained.name


def many(pipeline: Path) -> None:
    """To the three series of a trained store add 20 like them, one that has ended and two of which nothing is known."""
    settings = pipeline_file.read(pipeline, {})
    store = open_store(settings.pipeline.store)
    at = clock.parse_time(ISSUE, settings.pipeline.timezone)
    known = history.read_as_of(store, settings.name, "demand", ["y"], at, at - timedelta(days=70))
    rng = np.random.default_rng(3)
    rows = []
    for number in range(20):
        one = known.filter(series_id=f"LDC{number % 3 + 1}").with_columns(
            pl.lit(f"L{number:02d}").alias("series_id"), pl.col("y") * (number + 1)
        )
        # Gaps, of other hours in each, but not of the newest one: the series would be late.
        is_kept = pl.Series(rng.random(len(one)) > 0.02 * number)
        rows.append(one.filter(is_kept | (pl.col("valid_time") == pl.col("valid_time").max())))
    rows.append(rows[5].with_columns(pl.lit("K-ended").alias("series_id")).head(300))
    rows += [rows[6].with_columns(series_id=pl.lit(name), y=None).tail(9) for name in ("A-unknown", "M-unknown")]
    added = pl.concat(rows, how="vertical_relaxed").with_columns(available_at=pl.col("valid_time") + timedelta(hours=1))
    history.append(store, settings.name, "demand", added.sort("series_id", "valid_time"), at)
