"""A tiny part of the embedded sample: what `gatecast init` puts beside a new pipeline file."""

from __future__ import annotations

from importlib import resources

import polars as pl

_FIRST = pl.datetime(2018, 3, 1)


def read_tiny_sample() -> dict[str, pl.DataFrame]:
    """Eight months of hourly load of one company, and of temperature: `load` and `temperature`."""
    frames = {}
    for name in ("load", "temperature"):
        with resources.as_file(resources.files("storage.samples").joinpath(f"{name}.parquet")) as path:
            frame = pl.read_parquet(path).filter(pl.col("ds") >= _FIRST)
        frames[name] = frame
    frames["load"] = frames["load"].filter(pl.col("series_id") == "LDC1")
    return frames
