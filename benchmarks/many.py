"""A store of many series to forecast: hourly history of any length, and a champion of the default size.

The champion has random weights, because the cost of a forecast does not depend on its quality.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from model.spec import ModelSpec

ROOT = Path(__file__).parent.parent
ISSUE = datetime(2024, 3, 1, tzinfo=UTC)
HIDDEN = 128
#: Series written at a time.
_BLOCK = 10_000
_FILE = """
[pipeline]
name = "many"
store = "./store"
frequency = "1h"
horizon = 24
context = {context}
season = 168
bounds = {{ min = 0.0 }}

[[feed]]
name = "load"
role = "target"
uri = "none.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["y"]

[model]
hidden_size = {hidden}
"""


def make(folder: Path, series: int, hours: int = 168, context: int = 168) -> Path:
    """Write a pipeline file into `folder`, fill its store with history before ISSUE, and return the file's path.

    A process of its own fills the store, because the peak memory of a process includes that of its parent.
    """
    folder.mkdir(parents=True)
    path = folder / "many.toml"
    path.write_text(_FILE.format(hidden=HIDDEN, context=context))
    command = f"from benchmarks.many import fill; fill({str(path)!r}, {series}, {hours})"
    subprocess.run([sys.executable, "-c", command], check=True, cwd=ROOT)
    return path


def fill(path: str, series: int, hours: int) -> None:
    """Write the history and the champion of a pipeline file."""
    from flows.settings import file as pipeline_file
    from storage import layout, registry
    from storage.schemas import history_schema
    from storage.store import open_store
    from storage.store.parquet import parquet_writer

    settings = pipeline_file.read(path, {})
    store = open_store(settings.pipeline.store)
    key = f"{layout.history(settings.name, 'load')}/{layout.stamp(ISSUE)}-00000000.parquet"
    with store.atomic_file(key) as file, parquet_writer(file, history_schema(["y"]), dict) as add:
        for block in _history(series, hours):
            add(block)
    facts = {"decision": {"promoted": True, "reason": "random weights"}, "seen_to": ISSUE.isoformat()}
    registry.promote(store, settings.name, registry.add(store, settings.name, ISSUE, champion(settings.spec()), facts))


def champion(spec: ModelSpec) -> bytes:
    """Return an ONNX file of that specification."""
    import torch

    from model.training.export import to_onnx
    from model.training.network import CovariateStatistics, Ensemble, SegmentLSTM

    torch.manual_seed(1)
    known, observed = torch.zeros(len(spec.known_future)), torch.zeros(len(spec.observed))
    statistics = CovariateStatistics(known, known + 1, observed, observed + 1)
    members = [SegmentLSTM(spec, statistics, torch.linspace(-5, 5, 65)) for _ in range(spec.members)]
    return to_onnx(Ensemble(spec, members))


def _history(series: int, hours: int) -> Iterator[pl.DataFrame]:
    """Yield blocks of loads with a daily and a weekly season, rounded to hundredths like meter readings."""
    import numpy as np
    import polars as pl

    from storage.schemas import INSTANT

    random = np.random.default_rng(0)
    hour = np.arange(hours)
    shape = 1 + 0.3 * np.sin(2 * np.pi * hour / 24) + 0.1 * np.sin(2 * np.pi * hour / 168)
    start = ISSUE - timedelta(hours=hours)
    times = pl.datetime_range(start, ISSUE, "1h", closed="left", eager=True, time_unit="us")
    for first in range(0, series, _BLOCK):
        count = min(_BLOCK, series - first)
        level = random.lognormal(4, 1, count)[:, None]
        values = level * (shape + random.normal(0, 0.05, (count, hours)))
        valid = pl.Series(np.tile(times.to_physical(), count)).cast(INSTANT)
        yield pl.DataFrame(
            {
                "series_id": pl.Series([f"m{i:07d}" for i in range(first, first + count)]).gather(
                    np.repeat(np.arange(count), hours)
                ),
                "valid_time": valid,
                "available_at": valid + timedelta(hours=1),
                "ingested_at": pl.repeat(ISSUE, len(valid), dtype=INSTANT, eager=True),
                "y": np.maximum(values, 0).round(2).ravel(),
            }
        )
