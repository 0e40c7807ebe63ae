"""The part of the embedded sample that `gatecast init` writes beside a new pipeline file."""

from __future__ import annotations

from importlib import resources

import polars as pl

_START = pl.datetime(2018, 3, 1)


def read_tiny_sample() -> dict[str, pl.DataFrame]:
    """Return eight months of hourly `load` of one company, and of `temperature`, by name."""
    frames = {}
    for name in ("load", "temperature"):
        with resources.as_file(resources.files("storage.samples").joinpath(f"{name}.parquet")) as path:
            frame = pl.read_parquet(path).filter(pl.col("ds") >= _START)
        frames[name] = frame
    frames["load"] = frames["load"].filter(pl.col("series_id") == "LDC1")
    return frames
