"""Ninety nights with everything that goes wrong in them: `python -m benchmarks.operation sample|daily FOLDER`.

The truth is real data; each night the sources show what had come by then, and on some nights something breaks, for
real: files are missing or cut short, processes are killed, servers hang. Every night is `gatecast nightly` in a process
of its own. Nothing in the pipeline knows that it is watched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from benchmarks.faults import FAULTS, NINETY
from benchmarks.operation_proof import prove

SAMPLES = Path(__file__).parent.parent / "storage" / "samples"
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"

_FILE = """
[pipeline]
name = "{name}"
store = "./store"
frequency = "{frequency}"
timezone = "{zone}"
holidays = "{holidays}"
bounds = {{ min = 0.0 }}

[[feed]]
name = "demand"
role = "target"
uri = "demand.parquet"
series_id = "series_id"
valid_time = "ds"
values = ["y"]
time_zone = "UTC"

{covariate}
[model]
hidden_size = 32

[training]
every = "7d"
window = "all"
budget = "{budget}"

[promotion]
folds = 14

[forecast]
deadline = "{deadline}"
ended_after = "10d"
"""

_WEATHER = """
[[feed]]
name = "weather"
role = "known_future"
uri = "weather.parquet"
valid_time = "ds"
values = ["temperature"]
time_zone = "UTC"
"""


@dataclass
class World:
    """The truth: `demand` (series_id, ds UTC, y) and `weather` (ds, temperature), and how it is forecast."""

    name: str
    frequency: str
    zone: str
    holidays: str
    period: timedelta
    first: date
    demand: pl.DataFrame
    weather: pl.DataFrame | None
    ends: str

    def issue(self, night: int) -> datetime:
        """Local midnight of the night, UTC."""
        day = self.first + timedelta(days=night)
        return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.zone)).astimezone(UTC)


def sample() -> World:
    """The embedded sample: hourly load of three companies, with the temperature forecast."""
    zone = "America/New_York"
    utc = pl.col("ds").dt.replace_time_zone(zone, non_existent="null", ambiguous="earliest").dt.convert_time_zone("UTC")
    since = pl.col("ds") >= pl.datetime(2018, 1, 1)
    load = pl.read_parquet(SAMPLES / "load.parquet").filter(since).with_columns(ds=utc).drop_nulls("ds")
    weather = pl.read_parquet(SAMPLES / "temperature.parquet").filter(since).with_columns(ds=utc).drop_nulls("ds")
    weather = weather.select("ds", temperature="temperature_forecast").unique("ds", keep="first").sort("ds")
    load = load.unique(["series_id", "ds"], keep="first", maintain_order=True)
    return World(
        "sample", "1h", zone, "US", timedelta(hours=1), date(2018, 7, 1), load, weather, ends="LDC3"
    )  # fmt: skip


def daily() -> World:
    """Daily gas and electricity of Spain."""
    zone = "Europe/Madrid"
    utc = pl.col("ds").dt.replace_time_zone(zone).dt.convert_time_zone("UTC")
    rows = pl.read_parquet(SHARED / "spain_daily.parquet", columns=["series_id", "ds", "y"]).with_columns(ds=utc)
    return World(
        "daily", "1d", zone, "ES", timedelta(hours=23),  # the shortest day
         date(2025, 1, 10), rows, None, ends="gas_ES_power_Enagas"
    )  # fmt: skip


@dataclass
class Operation:
    """A folder with the pipeline file, and the nights run in it.

    Attributes:
        faults: night -> what goes wrong in it, by the names of `FAULTS`.
        environment: of the command, beside the process's own.
    """

    world: World
    folder: Path
    faults: dict[int, str]
    begins: int
    ends: int
    environment: dict[str, str]
    budget: str = "15s"
    deadline: str = "60s"
    reports: list[dict[str, Any]] = field(default_factory=list)
    running: int = 0

    def __post_init__(self) -> None:
        world = self.world
        self.folder.mkdir(parents=True, exist_ok=True)
        text = _FILE.format(
            name=world.name, frequency=world.frequency, zone=world.zone, holidays=world.holidays, budget=self.budget,
            deadline=self.deadline, covariate=_WEATHER if world.weather is not None else "",
        )  # fmt: skip
        self.file.write_text(text)
        self.truth = self._with_ends(world.demand)

    @property
    def file(self) -> Path:
        """The pipeline file."""
        return self.folder / f"{self.world.name}.toml"

    @property
    def store(self) -> Path:
        """The store."""
        return self.folder / "store"

    def _with_ends(self, demand: pl.DataFrame) -> pl.DataFrame:
        """The truth, in which one series begins late and one ends early."""
        begin, end = (self.world.issue(night) for night in (self.begins, self.ends))
        first = demand["series_id"].unique().sort()[0]
        new = demand.filter(pl.col("series_id") == first, pl.col("ds") >= begin)
        new = new.with_columns(series_id=pl.lit("new"), y=(pl.col("y") * 0.3).round(2))
        gone = (pl.col("series_id") == self.world.ends) & (pl.col("ds") >= end)
        return pl.concat([demand.filter(~gone), new])

    def night(self, number: int) -> dict[str, Any]:
        """Run one night: the sources show what has come, the fault of the night happens, the command runs."""
        issue = self.world.issue(number)
        self.publish_sources(issue)
        fault = self.faults.get(number, "")
        with FAULTS[fault](self) as environment:
            begun = time.monotonic()
            done = self._command(issue, environment)
        report = {
            "night": number,
            "fault": fault,
            "day": str(self.world.first + timedelta(days=number)),
            "status": done.returncode,
        }
        report |= {"seconds": round(time.monotonic() - begun, 1), "errors": done.stderr[-4000:]}
        report["said"] = json.loads(done.stdout) if done.stdout.startswith("{") else None
        self.reports.append(report)
        return report

    def publish_sources(self, issue: datetime) -> None:
        """What the sources show at `issue`."""
        come = pl.col("ds") + self.world.period <= issue
        self.truth.filter(come).write_parquet(self.folder / "demand.parquet")
        if self.world.weather is not None:
            ahead = self.world.weather.filter(pl.col("ds") <= issue + timedelta(days=2))
            ahead.write_parquet(self.folder / "weather.parquet")

    def _command(self, issue: datetime, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "nightly", str(self.file), "--issue-time", issue.isoformat(), "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **self.environment, **more},
        )  # fmt: skip
        self.running = process.pid
        out, errors = process.communicate(timeout=1200)
        return subprocess.CompletedProcess([], process.returncode, out, errors)


def _prefect() -> dict[str, str]:
    """The Prefect server that the environment names, if it names one; else each night starts its own."""
    return {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}


def main(which: str, place: str) -> None:
    """Run the ninety nights and print what each published."""
    world = {"sample": sample, "daily": daily}[which]()
    operation = Operation(world, Path(place), NINETY, begins=20, ends=45, environment=_prefect())
    print("| night | issued | went wrong | exit | s | rows | reasons |\n|---:|---|---|---:|---:|---|---|")
    for number in range(90):
        report = operation.night(number)
        said = report["said"] or {"forecast": {"status": {}, "reasons": []}}
        rows = ", ".join(f"{n} {status}" for status, n in said["forecast"]["status"].items())
        here = f"{operation.folder.resolve()}/"
        why = "; ".join(reason["reason"].replace(here, "")[:80] for reason in said["forecast"]["reasons"])
        print(
            f"| {number} | {report['day']} | {report['fault']} | {report['status']} | {report['seconds']} | "
            f"{rows} | {why} |", flush=True,
        )  # fmt: skip
    found = prove(operation.store, world.name, 90)
    rows = ", ".join(f"{n} {status}" for status, n in found["rows"].items())
    print(
        f"\n{found['nights']} files, each before its deadline of {operation.deadline}; {rows}; every row that is not "
        f"`model` says why; {found['scores']} scores equal what DuckDB and NumPy make of the Parquet files."
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
