"""Ninety nights with everything that goes wrong in them: `python -m benchmarks.operation sample|daily FOLDER`.

The truth is real data; each night the sources show what had come by then, and on some nights something breaks, for
real: files are missing or cut short, processes are killed, servers hang. Every night is `gatecast nightly` in a process
of its own. Nothing in the pipeline knows that it is watched.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

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
        self._publish_sources(issue)
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

    def _publish_sources(self, issue: datetime) -> None:
        come = pl.col("ds") + self.world.period <= issue
        self.truth.filter(come).write_parquet(self.folder / "demand.parquet")
        if self.world.weather is not None:
            ahead = self.world.weather.filter(pl.col("ds") <= issue + timedelta(days=2))
            ahead.write_parquet(self.folder / "weather.parquet")

    def _command(self, issue: datetime, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "nightly", str(self.file), "--issue-time", issue.isoformat(), "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **self.environment, **more},
        )  # fmt: skip
        self.running = process.pid
        out, errors = process.communicate(timeout=1200)
        return subprocess.CompletedProcess([], process.returncode, out, errors)


Fault = Callable[[Operation], Any]


@contextmanager
def _nothing(operation: Operation) -> Iterator[dict[str, str]]:
    yield {}


@contextmanager
def _late_feed(operation: Operation) -> Iterator[dict[str, str]]:
    """The newest values have not come."""
    place = operation.folder / "demand.parquet"
    rows = pl.read_parquet(place)
    back = 10 * operation.world.period if operation.world.period < timedelta(hours=23) else timedelta(days=3)
    rows.filter(pl.col("ds") < rows["ds"].max() - back).write_parquet(place)  # type: ignore[operator]
    yield {}


@contextmanager
def _missing_feed(operation: Operation) -> Iterator[dict[str, str]]:
    """The file is not there."""
    (operation.folder / "demand.parquet").unlink()
    yield {}


@contextmanager
def _corrupted_file(operation: Operation) -> Iterator[dict[str, str]]:
    """The file is cut short."""
    place = operation.folder / "demand.parquet"
    place.write_bytes(place.read_bytes()[: place.stat().st_size // 2])
    yield {}


@contextmanager
def _hung_source(operation: Operation) -> Iterator[dict[str, str]]:
    """A server takes the question and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield {"GATECAST_FEED__DEMAND__URI": f"http://127.0.0.1:{server.getsockname()[1]}/demand.csv"}


@contextmanager
def _killed(operation: Operation, library: str) -> Iterator[dict[str, str]]:
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.01):
            for place in Path("/proc").glob("[0-9]*"):
                try:
                    parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                    ours = parent == operation.running and b"flows.apart" in (place / "cmdline").read_bytes()
                    if ours and f"/{library}/" in (place / "maps").read_text():
                        os.kill(int(place.name), signal.SIGKILL)
                        return
                except OSError:
                    continue

    operation.running = 0
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield {}
    finally:
        stop.set()
        killer.join()


@contextmanager
def _killed_training(operation: Operation) -> Iterator[dict[str, str]]:
    """Training is due, and its process is killed, as for its memory."""
    with _killed(operation, "torch") as environment:
        yield {"GATECAST_TRAINING__EVERY": "1d", **environment}


@contextmanager
def _killed_writer(operation: Operation) -> Iterator[dict[str, str]]:
    """The process that forecasts and writes is killed."""
    with _killed(operation, "onnxruntime") as environment:
        yield environment


@contextmanager
def _revised_actuals(operation: Operation) -> Iterator[dict[str, str]]:
    """The source has corrected the values of the last days, for good."""
    issue = operation.world.issue(len(operation.reports))
    recent = pl.col("ds").is_between(issue - timedelta(days=3), issue - timedelta(days=1))
    operation.truth = operation.truth.with_columns(y=pl.when(recent).then(pl.col("y") * 1.02).otherwise("y"))
    operation._publish_sources(issue)
    yield {}


@contextmanager
def _wrong_values(operation: Operation) -> Iterator[dict[str, str]]:
    """Negative and unreadably large values among the newest, and rows twice."""
    place = operation.folder / "demand.parquet"
    rows = pl.read_parquet(place)
    newest = rows.filter(pl.col("ds") == rows["ds"].max())
    wrong = newest.with_columns(y=pl.lit(-1.0))
    pl.concat([rows.filter(pl.col("ds") < rows["ds"].max()), newest, wrong]).write_parquet(place)
    yield {}


@contextmanager
def _corrupted_champion(operation: Operation) -> Iterator[dict[str, str]]:
    """Bytes of the serving model have changed on the disk."""
    folder = operation.store / "models" / operation.world.name
    version = json.loads((folder / "champion.json").read_text())["version"]
    place = folder / version / "model.onnx"
    content = place.read_bytes()
    place.write_bytes(content[:1000] + bytes(64) + content[1064:])
    yield {}
    place.write_bytes(content)


@contextmanager
def _corrupted_history(operation: Operation) -> Iterator[dict[str, str]]:
    """A file of the history is cut short on the disk."""
    folder = operation.store / "history" / operation.world.name / "demand"
    place = max(folder.glob("*.parquet"), key=lambda p: p.stat().st_size)
    place.write_bytes(place.read_bytes()[: place.stat().st_size // 3])
    yield {}


FAULTS: dict[str, Fault] = {
    "": _nothing,
    "late feed": _late_feed,
    "missing feed": _missing_feed,
    "corrupted file": _corrupted_file,
    "hung source": _hung_source,
    "killed training": _killed_training,
    "killed writer": _killed_writer,
    "revised actuals": _revised_actuals,
    "wrong values": _wrong_values,
    "corrupted champion": _corrupted_champion,
    "corrupted history": _corrupted_history,
}

#: The ninety nights: a series begins on the 20th and one ends on the 45th.
NINETY = {
    6: "late feed", 10: "missing feed", 15: "corrupted file", 22: "killed training", 27: "killed writer",
    31: "hung source", 36: "revised actuals", 41: "wrong values", 47: "corrupted champion", 52: "corrupted history",
    58: "late feed", 59: "late feed", 60: "missing feed", 66: "killed training", 71: "killed writer",
    76: "revised actuals", 81: "corrupted file", 86: "hung source",
}  # fmt: skip


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
