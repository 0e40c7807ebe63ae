"""Ninety nightly runs with faults: `python -m benchmarks.operation sample|daily FOLDER`. Prints Markdown.

The data are real. Before each run the sources get the values that were available by then. In some runs a fault is made
for real: files are missing or truncated, processes are killed, servers hang. Each run is `gatecast nightly` in a
process of its own, without any change for the simulation.
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
    """Data of an operation and the settings of its pipeline.

    Attributes:
        name: Name of the pipeline.
        frequency: Frequency of the pipeline.
        zone: Its time zone.
        holidays: Its holiday calendar.
        period: Length of the shortest period.
        first: Local day of the first run.
        demand: All values: series_id, ds (UTC), y.
        weather: Covariate: ds (UTC), temperature; None without one.
        ends: Id of the series that ends during the operation.
    """

    name: str
    frequency: str
    zone: str
    holidays: str
    period: timedelta
    first: date
    demand: pl.DataFrame
    weather: pl.DataFrame | None
    ends: str

    def issue_time(self, number: int) -> datetime:
        """Return the local midnight of a run, in UTC."""
        day = self.first + timedelta(days=number)
        return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.zone)).astimezone(UTC)


def sample() -> World:
    """Return the embedded sample: hourly load of three companies with the temperature forecast."""
    zone = "America/New_York"
    utc = pl.col("ds").dt.replace_time_zone(zone, non_existent="null", ambiguous="earliest").dt.convert_time_zone("UTC")
    is_recent = pl.col("ds") >= pl.datetime(2018, 1, 1)
    load = pl.read_parquet(SAMPLES / "load.parquet").filter(is_recent).with_columns(ds=utc).drop_nulls("ds")
    weather = pl.read_parquet(SAMPLES / "temperature.parquet").filter(is_recent).with_columns(ds=utc).drop_nulls("ds")
    weather = weather.select("ds", temperature="temperature_forecast").unique("ds", keep="first").sort("ds")
    load = load.unique(["series_id", "ds"], keep="first", maintain_order=True)
    return World(
        "sample", "1h", zone, "US", timedelta(hours=1), date(2018, 7, 1), load, weather, ends="LDC3"
    )  # fmt: skip


def daily() -> World:
    """Return daily gas and electricity of Spain."""
    zone = "Europe/Madrid"
    utc = pl.col("ds").dt.replace_time_zone(zone).dt.convert_time_zone("UTC")
    rows = pl.read_parquet(SHARED / "spain_daily.parquet", columns=["series_id", "ds", "y"]).with_columns(ds=utc)
    shortest_day = timedelta(hours=23)
    return World(
        "daily", "1d", zone, "ES", shortest_day, date(2025, 1, 10), rows, None, ends="gas_ES_power_Enagas"
    )  # fmt: skip


@dataclass(frozen=True)
class RunResult:
    """Result of one nightly run. `record` is the run's JSON output, None if it printed none."""

    number: int
    fault: str
    day: str
    exit_status: int
    seconds: float
    errors: str
    record: dict[str, Any] | None


@dataclass
class Operation:
    """A folder with a pipeline file, and the nightly runs in it.

    Attributes:
        world: Data and settings.
        folder: Folder of the pipeline file, the sources and the store.
        faults: Name of the fault (see `FAULTS`) by number of the run.
        begins: Number of the run at which a new series begins.
        ends: Number of the run at which a series ends.
        environment: Environment variables of the command, beside those of this process.
        budget: `training.budget`.
        deadline: `forecast.deadline`.
        results: Results of the runs so far.
        running: Process id of the running command.
    """

    world: World
    folder: Path
    faults: dict[int, str]
    begins: int
    ends: int
    environment: dict[str, str]
    budget: str = "15s"
    deadline: str = "60s"
    results: list[RunResult] = field(default_factory=list)
    running: int = 0

    def __post_init__(self) -> None:
        world = self.world
        self.folder.mkdir(parents=True, exist_ok=True)
        text = _FILE.format(
            name=world.name, frequency=world.frequency, zone=world.zone, holidays=world.holidays, budget=self.budget,
            deadline=self.deadline, covariate=_WEATHER if world.weather is not None else "",
        )  # fmt: skip
        self.pipeline_path.write_text(text)
        self.demand = self._with_ends(world.demand)

    @property
    def pipeline_path(self) -> Path:
        """Path of the pipeline file."""
        return self.folder / f"{self.world.name}.toml"

    @property
    def store(self) -> Path:
        """Folder of the store."""
        return self.folder / "store"

    def _with_ends(self, demand: pl.DataFrame) -> pl.DataFrame:
        """Return the data with one series that begins late and one that ends early."""
        begin, end = (self.world.issue_time(number) for number in (self.begins, self.ends))
        first = demand["series_id"].unique().sort()[0]
        new = demand.filter(pl.col("series_id") == first, pl.col("ds") >= begin)
        new = new.with_columns(series_id=pl.lit("new"), y=(pl.col("y") * 0.3).round(2))
        ended = (pl.col("series_id") == self.world.ends) & (pl.col("ds") >= end)
        return pl.concat([demand.filter(~ended), new])

    def run(self, number: int) -> RunResult:
        """Do one nightly run: fill the sources, make the fault, run the command."""
        issue = self.world.issue_time(number)
        self.publish_sources(issue)
        fault = self.faults.get(number, "")
        with FAULTS[fault](self) as environment:
            started = time.monotonic()
            done = self.run_command(issue, environment)
        result = RunResult(
            number=number,
            fault=fault,
            day=str(self.world.first + timedelta(days=number)),
            exit_status=done.returncode,
            seconds=round(time.monotonic() - started, 1),
            errors=done.stderr[-4000:],
            record=json.loads(done.stdout) if done.stdout.startswith("{") else None,
        )
        self.results.append(result)
        return result

    def publish_sources(self, issue: datetime) -> None:
        """Write the values that are available at the issue time to the sources."""
        is_available = pl.col("ds") + self.world.period <= issue
        self.demand.filter(is_available).write_parquet(self.folder / "demand.parquet")
        if self.world.weather is not None:
            ahead = self.world.weather.filter(pl.col("ds") <= issue + timedelta(days=2))
            ahead.write_parquet(self.folder / "weather.parquet")

    def run_command(self, issue: datetime, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run the command for one issue time, with these environment variables beside the others."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        options = ["--issue-time", issue.isoformat(), "--json"]
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "nightly", str(self.pipeline_path), *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **self.environment, **environment},
        )  # fmt: skip
        self.running = process.pid
        out, errors = process.communicate(timeout=1200)
        return subprocess.CompletedProcess([], process.returncode, out, errors)


def _prefect() -> dict[str, str]:
    """Return the settings of a configured Prefect server. Without one, each run starts its own."""
    return {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}


def main(name: str, folder: str) -> None:
    """Do the ninety runs and print what each published."""
    world = {"sample": sample, "daily": daily}[name]()
    operation = Operation(world, Path(folder), NINETY, begins=20, ends=45, environment=_prefect())
    print("| run | issued | fault | exit | s | rows | reasons |\n|---:|---|---|---:|---:|---|---|")
    for number in range(90):
        result = operation.run(number)
        forecast = result.record["forecast"] if result.record else {"status": {}, "reasons": []}
        rows = ", ".join(f"{count} {status}" for status, count in forecast["status"].items())
        prefix = f"{operation.folder.resolve()}/"
        reasons = "; ".join(each["reason"].replace(prefix, "")[:80] for each in forecast["reasons"])
        print(
            f"| {number} | {result.day} | {result.fault} | {result.exit_status} | {result.seconds} | {rows} | "
            f"{reasons} |", flush=True,
        )  # fmt: skip
    proof = prove(operation.store, world.name, 90)
    rows = ", ".join(f"{count} {status}" for status, count in proof.rows.items())
    print(
        f"\n{proof.runs} files, each before its deadline of {operation.deadline}: {rows}. Every row that is not "
        f"`model` has a reason. {proof.scores} scores equal those that DuckDB and NumPy compute from the Parquet files."
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
