"""Ingest and as-of reads of many rows, beside the same work in pandas: `python -m benchmarks.ingest`.

Ingest: 20 million hourly rows of 2,000 synthetic series, with all checks. As-of read: the values of 20,000 series over
720 hours that were visible at one issue time, into a dense array. Figures are medians of three runs, each in a process
of its own (wait4).

The ingest with pandas reads the same Parquet. It marks nulls, duplicates, times off the grid and values out of bounds.
By group, it finds gaps, flat lines, spikes, dropouts and jumps of the weekly level. It computes `available_at` and
writes Parquet. The as-of read with pandas filters, drops duplicates and pivots.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.first_light import machine
from benchmarks.race.cost import Cost

RUNS = 3
_START = datetime(2020, 1, 1)
_FILE = """
[pipeline]
name = "p"
store = "./store"
frequency = "1h"
bounds = { min = 0.0 }
[[feed]]
name = "d"
role = "target"
uri = "f.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
"""


def make(folder: Path, series: int, hours: int) -> None:
    """Write a pipeline file and its feed."""
    folder.mkdir()
    times = pl.datetime_range(_START, _START + timedelta(hours=hours - 1), "1h", eager=True, time_unit="us")
    shape = 100 + 30 * np.sin(2 * np.pi * np.arange(hours) / 24)
    values = np.tile(shape, series) + np.random.default_rng(0).normal(0, 5, series * hours)
    names = pl.Series([f"m{i:06d}" for i in range(series)]).gather(np.repeat(np.arange(series), hours))
    frame = pl.DataFrame({"series_id": names, "ds": pl.concat([times] * series), "y": values.round(2)})
    frame.write_parquet(folder / "f.parquet")
    (folder / "p.toml").write_text(_FILE)


def gatecast_ingest(folder: Path) -> None:
    """Ingest with Gatecast."""
    from flows import clock
    from flows.settings import file as pipeline_file
    from flows.stages.ingest import ingest
    from storage.store import open_store

    settings = pipeline_file.read(folder / "p.toml")
    ingest(settings, open_store(settings.pipeline.store), clock.now(), clock.now())


def pandas_ingest(folder: Path) -> None:
    """Ingest with pandas."""
    import pandas as pd

    rows = pd.read_parquet(folder / "f.parquet")
    time = rows["ds"].dt.tz_localize("UTC")
    refused = rows["series_id"].isna() | time.isna() | (time.dt.minute != 0) | (rows["y"] < 0) | np.isinf(rows["y"])
    refused |= rows.duplicated(["series_id", "ds"], keep="last")
    rows = rows.assign(valid_time=time, available_at=time + pd.Timedelta(hours=1))[~refused]
    group = rows.groupby("series_id", sort=False)
    value, gap = rows["y"], group["valid_time"].diff()
    lag = {back: group["y"].shift(back) for back in (1, -1, 168, -168)}
    neighbours = pd.concat(lag.values(), axis=1)
    findings = [(gap > pd.Timedelta(hours=1)).sum(), (value > 5 * neighbours.max(axis=1)).sum()]
    findings.append(((value == 0) & (neighbours.min(axis=1) > 20)).sum())
    is_equal = value == lag[1]
    findings.append((is_equal.groupby((~is_equal).cumsum()).sum() >= 12).sum())
    daily = rows.assign(day=rows["valid_time"].dt.floor("D")).groupby(["series_id", "day"], sort=False)["y"].mean()
    month = daily.groupby(level=0).rolling(28).mean().droplevel(0)
    findings.append((month / month.groupby(level=0).shift(28) > 2).sum())
    out = rows[["series_id", "valid_time", "available_at", "y"]].assign(ingested_at=pd.Timestamp.now("UTC"))
    out.to_parquet(folder / "pandas.parquet", compression="zstd")


def gatecast_read(folder: Path) -> None:
    """Read as of an issue time with Gatecast."""
    from flows.settings import file as pipeline_file
    from flows.stages.panels import known_series, to_micros, visible_panel
    from storage.store import open_store

    issue = _START.replace(tzinfo=UTC) + timedelta(hours=1440)
    settings = pipeline_file.read(folder / "p.toml")
    store = open_store(settings.pipeline.store)
    first = settings.grid.first_step(to_micros(issue))
    panel = visible_panel(settings, store, known_series(settings, store, issue), issue, first - 720, 720)
    assert panel.target.layers[0].values.shape == (20_000, 720)


def pandas_read(folder: Path) -> None:
    """Read as of an issue time with pandas, from the file that its ingest wrote."""
    import pandas as pd

    issue = pd.Timestamp(_START, tz="UTC") + pd.Timedelta(hours=1440)
    rows = pd.read_parquet(folder / "pandas.parquet")
    rows = rows[(rows["available_at"] <= issue) & (rows["valid_time"] >= issue - pd.Timedelta(hours=720))]
    rows = rows.sort_values(["available_at", "ingested_at"]).drop_duplicates(["series_id", "valid_time"], keep="last")
    assert rows.pivot(index="series_id", columns="valid_time", values="y").to_numpy().shape == (20_000, 720)


def measure(function: str, folder: Path) -> Cost:
    """Run one of the functions above in a process of its own and return its cost."""
    import time

    started = time.perf_counter()
    code = f"from pathlib import Path; import benchmarks.ingest as b; b.{function}(Path({str(folder)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code])
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{function} failed.")
    return Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    """Measure all, with the two libraries in alternation, and print the table."""
    import shutil

    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        large, wide = Path(scratch) / "large", Path(scratch) / "wide"
        make(large, 2_000, 10_000)
        make(wide, 20_000, 1_440)
        for prepare in ("gatecast_ingest", "pandas_ingest"):
            measure(prepare, wide)
        print(f"{machine()}\n\n| what | wall s | CPU s | peak MB |\n|---|---:|---:|---:|", flush=True)
        for work, folder, size in (("ingest", large, "20 million rows"), ("read", wide, "as of T, 20,000 x 720")):
            costs: dict[str, list[Cost]] = {"gatecast": [], "pandas": []}
            for _ in range(RUNS):
                for library, runs in costs.items():
                    if work == "ingest":
                        shutil.rmtree(folder / "store", ignore_errors=True)
                    runs.append(measure(f"{library}_{work}", folder))
            for library, runs in costs.items():
                wall, cpu, memory = (statistics.median(figures) for figures in zip(*runs, strict=True))
                print(f"| {work} {size}, {library} | {wall:.1f} | {cpu:.1f} | {memory:.0f} |", flush=True)
        print(f"\nLoad average before: {load:.1f}; after, with this run: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
