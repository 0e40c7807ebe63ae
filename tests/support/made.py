"""Panels and specs made in a few lines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from model.panel import Channel, Panel, RevisionLayer
from model.spec import ModelSpec
from model.timegrid import TimeGrid
from model.training.options import TrainingData
from model.training.samples import build_sampler, make_batch


def spec(**changes: Any) -> ModelSpec:
    """A small model on hours, with one covariate of each kind."""
    given: dict[str, Any] = {
        "frequency": "1h", "timezone": "Europe/Madrid", "holidays": "ES", "horizon": 24, "context": 72,
        "season": 24, "segment": 24, "levels": (0.1, 0.25, 0.5, 0.9), "lower": 0.0, "upper": None,
        "known_future": ("temperature",), "observed": ("price",), "head": "quantile", "cell": "lstm",
        "hidden_size": 8, "layers": 1, "members": 1, "series": ("a", "b", "c"),
    }  # fmt: skip
    return ModelSpec(**given | changes)


def panel(of: ModelSpec, columns: int = 1500, seed: int = 0) -> Panel:
    """Three series with a daily shape, weather and noise; every hour is known when it ends."""
    rng = np.random.default_rng(seed)
    first = 420_000
    grid = TimeGrid(of.frequency, of.timezone, of.holidays)
    hour = np.arange(columns)
    temperature = 10 * np.sin(hour / 97)[None] + rng.normal(size=(1, columns))
    scale = np.array([[1.0], [30.0], [1000.0]])
    target = scale * (5 + 2 * np.sin(2 * np.pi * hour / 24) + 0.2 * temperature + 0.2 * rng.normal(size=(3, columns)))
    known = np.tile(grid.end(first + hour), (3, 1))

    def channel(name: str, values: np.ndarray, available: np.ndarray | None = None) -> Channel:
        return Channel(name, (RevisionLayer(values.astype(np.float32), available),))

    return Panel(
        grid, ("a", "b", "c"), first, channel("target", target, known),
        tuple(channel(n, temperature) for n in of.known_future),
        tuple(channel(n, rng.normal(size=(3, columns)), known) for n in of.observed),
    )  # fmt: skip


def training_data(of: ModelSpec) -> TrainingData:
    """Return windows to fit a network of `of` on, and those of a week for early stopping."""
    given = panel(of)
    last = given.first + 1200
    steps = last + 24 * np.arange(1, 8)
    rows = np.tile(np.arange(3), 7)
    validation = make_batch(of, given, rows, np.repeat(steps, 3), np.repeat(given.grid.start(steps), 3))
    return TrainingData(build_sampler(of, given, last, 0, last), validation)


def hourly(first: datetime, values: np.ndarray, series: str = "a") -> pl.DataFrame:
    """A target table of one series: series_id, valid_time, available_at at the end of the hour, y."""
    times = [first + timedelta(hours=i) for i in range(len(values))]
    return pl.DataFrame({"series_id": series, "valid_time": times, "y": values}).with_columns(
        pl.col("valid_time").dt.cast_time_unit("us")
    ).with_columns(available_at=pl.col("valid_time") + pl.duration(hours=1))  # fmt: skip


ZONES = [
    "Europe/Madrid", "Europe/London", "Europe/Helsinki", "America/New_York", "America/Los_Angeles", "America/St_Johns",
    "America/Santiago", "Australia/Melbourne", "Australia/Lord_Howe", "Asia/Tehran", "Asia/Kolkata", "UTC",
]  # fmt: skip
