"""Nightly runs of a year with faults, as `benchmarks.soak` counts and plots them.

The data are real. Before each run the sources get the values that were available by then. In every third run a fault
is made for real: files are missing, damaged or unreadable, processes are killed, servers hang, code raises.
Some runs are `gatecast nightly` in a process of its own. The others run the code of the flow in this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import polars as pl

from benchmarks.code_faults import observed_store
from benchmarks.faults import FAULTS, PROCESSES
from benchmarks.nightly_in_process import run_nightly, use_exports
from storage.store import Store, open_store

SAMPLES = Path(__file__).parent.parent / "storage" / "samples"
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"

_FILE = """
[pipeline]
name = "{name}"
store = "{store}"
frequency = "{frequency}"
timezone = "{zone}"
holidays = "{holidays}"
context = {context}
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
hidden_size = {hidden_size}
members = {members}

[training]
every = "{every}"
window = "{window}"
budget = "{budget}"
max_updates = {updates}

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
        context: Steps in the model's context.
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
    context: int

    def issue_time(self, number: int) -> datetime:
        """Return the local midnight of a run, in UTC."""
        day = self.first + timedelta(days=number)
        return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.zone)).astimezone(UTC)


def sample(first: date = date(2018, 7, 1)) -> World:
    """Return the embedded sample: hourly load of three companies with the temperature forecast."""
    zone = "America/New_York"
    utc = pl.col("ds").dt.replace_time_zone(zone, non_existent="null", ambiguous="earliest").dt.convert_time_zone("UTC")
    is_recent = pl.col("ds") >= pl.lit(first - timedelta(days=181))
    load = pl.read_parquet(SAMPLES / "load.parquet").filter(is_recent).with_columns(ds=utc).drop_nulls("ds")
    weather = pl.read_parquet(SAMPLES / "temperature.parquet").filter(is_recent).with_columns(ds=utc).drop_nulls("ds")
    weather = weather.select("ds", temperature="temperature_forecast").unique("ds", keep="first").sort("ds")
    # The second of the hours that a clock change repeats is lost above. A covariate must not lack it.
    weather = weather.upsample("ds", every="1h").interpolate()
    load = load.unique(["series_id", "ds"], keep="first", maintain_order=True)
    return World(
        "sample", "1h", zone, "US", timedelta(hours=1), first, load, weather, ends="LDC3", context=336
    )  # fmt: skip


def daily(first: date = date(2025, 1, 1)) -> World:
    """Return daily gas and electricity of Spain."""
    zone = "Europe/Madrid"
    utc = pl.col("ds").dt.replace_time_zone(zone).dt.convert_time_zone("UTC")
    rows = pl.read_parquet(SHARED / "spain_daily.parquet", columns=["series_id", "ds", "y"]).with_columns(ds=utc)
    shortest_day = timedelta(hours=23)
    return World(
        "daily", "1d", zone, "ES", shortest_day, first, rows, None, ends="gas_ES_power_Enagas", context=56
    )  # fmt: skip


@dataclass(frozen=True)
class RunResult:
    """Result of one nightly run.

    Attributes:
        number: Number of the run, from 0.
        fault: Name of its fault, '' without one.
        day: Local day of its issue time.
        exit_status: Exit status of the command.
        seconds: Duration of the whole run.
        cpu: CPU-seconds of this process in the run.
        errors: End of its output of errors.
        record: The run's JSON output, None if it printed none.
        detail: Facts of the fault, such as the stage and the error.
        started: Start of the run, in seconds since 1970.
        in_process: Whether it ran in this process.
        orphans: Processes that outlived a killed command.
    """

    number: int
    fault: str
    day: str
    exit_status: int
    seconds: float
    errors: str
    record: dict[str, Any] | None
    detail: str = ""
    started: float = 0.0
    in_process: bool = False
    orphans: int = 0
    cpu: float = 0.0


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
        hung_deadline: `forecast.deadline` of a run in which a source hangs, which costs a third of it.
        every: `training.every`.
        window: `training.window`.
        hidden_size: `model.hidden_size`.
        members: `model.members`.
        updates: `training.max_updates`.
        store_uri: `pipeline.store`.
        exports: Folder of exported graphs for runs in this process.
        command_every: The last run of so many is a command of its own. 1 means every run.
        results: Results of the runs so far.
        running: Process id of the running command.
        number: Number of the current run.
        detail: Facts of the current fault.
        orphans: Processes that outlived the command that the current fault killed.
        before_stage: Called before each stage of a run in this process.
        calls: Calls of the store in the last run in this process.
        failing_call: Number of the call of the store that raises, and what it raises.
        refused_key: Key of the store that cannot be written.
        run_again: Number of the run to repeat after the current one.
    """

    world: World
    folder: Path
    faults: dict[int, str]
    begins: int
    ends: int
    environment: dict[str, str]
    budget: str = "15s"
    deadline: str = "60s"
    hung_deadline: str = "45s"
    every: str = "7d"
    window: str = "all"
    hidden_size: int = 32
    members: int = 1
    updates: int = 2000
    exports: Path | None = None
    store_uri: str = "./store"
    command_every: int = 1
    results: list[RunResult] = field(default_factory=list)
    running: int = 0
    number: int = 0
    detail: str = ""
    orphans: int = 0
    before_stage: Callable[[str], None] = lambda stage: None
    calls: int = 100
    failing_call: tuple[int, Callable[[], BaseException]] | None = None
    refused_key: str | None = None
    run_again: int | None = None

    def __post_init__(self) -> None:
        world = self.world
        self.folder.mkdir(parents=True, exist_ok=True)
        text = _FILE.format(
            name=world.name, frequency=world.frequency, zone=world.zone, holidays=world.holidays, budget=self.budget,
            deadline=self.deadline, covariate=_WEATHER if world.weather is not None else "", store=self.store_uri,
            context=world.context, hidden_size=self.hidden_size, members=self.members, every=self.every,
            window=self.window, updates=self.updates,
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

    @property
    def random(self) -> Random:
        """Random numbers of the current run, the same whenever it is repeated."""
        if self._random is None or self._random[0] != self.number:
            self._random = self.number, Random(f"{self.world.name} {self.number}")
        return self._random[1]

    _random: tuple[int, Random] | None = None

    def open(self) -> Store:
        """Return the store, for faults."""
        return open_store(str(self.store) if self.store_uri == "./store" else self.store_uri)

    def turn(self, fault: str) -> int:
        """Return how often a fault comes before the current run."""
        return sum(name == fault for number, name in self.faults.items() if number < self.number)

    def _with_ends(self, demand: pl.DataFrame) -> pl.DataFrame:
        """Return the data with one series that begins late and one that ends early."""
        begin, end = (self.world.issue_time(number) for number in (self.begins, self.ends))
        first = demand["series_id"].unique().sort()[0]
        new = demand.filter(pl.col("series_id") == first, pl.col("ds") >= begin)
        new = new.with_columns(series_id=pl.lit("new"), y=(pl.col("y") * 0.3).round(2))
        ended = (pl.col("series_id") == self.world.ends) & (pl.col("ds") >= end)
        return pl.concat([demand.filter(~ended), new])

    def train_first(self) -> None:
        """Ingest and train before the first run, with time enough to learn on any machine."""
        from flows.settings.file import open_pipeline
        from flows.stages.ingest import ingest
        from flows.stages.train import train

        issue, now = self.world.issue_time(0), datetime.now(UTC)
        self.publish_sources(issue)
        use_exports(self.exports)
        with mock.patch.dict(os.environ, {**self.environment, "GATECAST_TRAINING__BUDGET": "1h"}):
            pipeline = open_pipeline(str(self.pipeline_path))
            ingest(pipeline.settings, pipeline.store, issue, now)
            manifest = train(pipeline.settings, pipeline.store, issue, now)
        if not manifest["decision"]["promoted"]:
            sys.exit(f"The first model does not serve: {manifest['decision']['reason']}.")

    def run(self, number: int) -> RunResult:
        """Do one nightly run: fill the sources, make the fault, run the command."""
        self.number, self.detail, self.orphans, self.run_again = number, "", 0, None
        issue = self.world.issue_time(number)
        self.publish_sources(issue)
        fault = self.faults.get(number, "")
        in_process = (number + 1) % self.command_every > 0 and fault not in PROCESSES
        with FAULTS[fault](self) as environment:
            started, begun, cpu = time.monotonic(), time.time(), time.process_time()
            done = (self.run_here if in_process else self.run_command)(issue, environment)
            seconds, cpu = round(time.monotonic() - started, 2), round(time.process_time() - cpu, 2)
        if self.run_again is not None:
            earlier = self.world.issue_time(self.run_again)
            self.publish_sources(earlier)
            self.run_here(earlier, {})
        result = RunResult(
            number=number,
            fault=fault,
            day=str(self.world.first + timedelta(days=number)),
            exit_status=done.returncode,
            seconds=seconds,
            errors=done.stderr[-4000:],
            record=json.loads(done.stdout) if done.stdout.startswith("{") else None,
            detail=self.detail,
            started=begun,
            in_process=in_process,
            orphans=self.orphans,
            cpu=cpu,
        )
        self.results.append(result)
        return result

    def revise(self, number: int) -> None:
        """Revise the values of the last days before a run at the source, permanently."""
        issue = self.world.issue_time(number)
        recent = pl.col("ds").is_between(issue - timedelta(days=3), issue - timedelta(days=1))
        self.demand = self.demand.with_columns(y=pl.when(recent).then(pl.col("y") * 1.02).otherwise("y"))

    def publish_sources(self, issue: datetime) -> None:
        """Write the values that are available at the issue time to the sources."""
        self.available(issue).write_parquet(self.folder / "demand.parquet")
        if self.world.weather is not None:
            ahead = self.world.weather.filter(pl.col("ds") <= issue + timedelta(days=2))
            ahead.write_parquet(self.folder / "weather.parquet")

    def available(self, issue: datetime) -> pl.DataFrame:
        """Return the values of the target that are available at the issue time."""
        return self.demand.filter(pl.col("ds") + self.world.period <= issue)

    def run_here(self, issue: datetime, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run the flow for one issue time in this process."""
        with observed_store(self):
            night = run_nightly(
                self.pipeline_path, issue, {**self.environment, **environment}, self.before_stage, self.exports
            )
        out = "" if night.record is None else json.dumps(night.record, default=str)
        return subprocess.CompletedProcess([], night.exit_status, out, night.error)

    def run_command(self, issue: datetime, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run the command for one issue time, with these environment variables beside the others."""
        process = self.start_command(issue, environment)
        out, errors = process.communicate(timeout=1200)
        return subprocess.CompletedProcess([], process.returncode, out, errors)

    def start_command(self, issue: datetime, environment: dict[str, str]) -> subprocess.Popen[str]:
        """Start the command for one issue time."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        options = ["--issue-time", issue.isoformat(), "--json"]
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "nightly", str(self.pipeline_path), *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **self.environment, **environment},
        )  # fmt: skip
        self.running = process.pid
        return process
