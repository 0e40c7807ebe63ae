"""Faults of the simulated operation, each made for real around one nightly run and undone after it."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from benchmarks.operation import Operation

#: A context manager around one run. It yields the environment variables that the command needs for the fault.
Fault = Callable[["Operation"], AbstractContextManager[dict[str, str]]]


@contextmanager
def _nothing(operation: Operation) -> Iterator[dict[str, str]]:
    yield {}


@contextmanager
def _late_feed(operation: Operation) -> Iterator[dict[str, str]]:
    """Remove the newest values."""
    path = operation.folder / "demand.parquet"
    rows = pl.read_parquet(path)
    delay = 10 * operation.world.period if operation.world.period < timedelta(hours=23) else timedelta(days=3)
    rows.filter(pl.col("ds") < rows["ds"].max() - delay).write_parquet(path)  # type: ignore[operator]
    yield {}


@contextmanager
def _missing_feed(operation: Operation) -> Iterator[dict[str, str]]:
    """Remove the file."""
    (operation.folder / "demand.parquet").unlink()
    yield {}


@contextmanager
def _corrupted_file(operation: Operation) -> Iterator[dict[str, str]]:
    """Truncate the file."""
    path = operation.folder / "demand.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    yield {}


@contextmanager
def _hung_source(operation: Operation) -> Iterator[dict[str, str]]:
    """Read the feed from a server that accepts the request and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield {"GATECAST_FEED__DEMAND__URI": f"http://127.0.0.1:{server.getsockname()[1]}/demand.csv"}


@contextmanager
def _killed_process(operation: Operation, library: str) -> Iterator[dict[str, str]]:
    """Kill the first stage process of the command that loads `library`."""
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.01):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                    is_stage = (
                        parent == operation.running and b"flows.stage_process" in (process / "cmdline").read_bytes()
                    )
                    if is_stage and f"/{library}/" in (process / "maps").read_text():
                        os.kill(int(process.name), signal.SIGKILL)
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
    """Make a training due and kill its process, as the kernel does when memory runs out."""
    with _killed_process(operation, "torch") as environment:
        yield {"GATECAST_TRAINING__EVERY": "1d", **environment}


@contextmanager
def _killed_writer(operation: Operation) -> Iterator[dict[str, str]]:
    """Kill the process that forecasts and writes."""
    with _killed_process(operation, "onnxruntime") as environment:
        yield environment


@contextmanager
def _revised_actuals(operation: Operation) -> Iterator[dict[str, str]]:
    """Revise the values of the last days at the source, permanently."""
    issue = operation.world.issue_time(len(operation.results))
    recent = pl.col("ds").is_between(issue - timedelta(days=3), issue - timedelta(days=1))
    operation.demand = operation.demand.with_columns(y=pl.when(recent).then(pl.col("y") * 1.02).otherwise("y"))
    operation.publish_sources(issue)
    yield {}


@contextmanager
def _wrong_values(operation: Operation) -> Iterator[dict[str, str]]:
    """Add duplicates of the newest rows with a negative value."""
    path = operation.folder / "demand.parquet"
    rows = pl.read_parquet(path)
    newest = rows.filter(pl.col("ds") == rows["ds"].max())
    wrong = newest.with_columns(y=pl.lit(-1.0))
    pl.concat([rows.filter(pl.col("ds") < rows["ds"].max()), newest, wrong]).write_parquet(path)
    yield {}


@contextmanager
def _corrupted_champion(operation: Operation) -> Iterator[dict[str, str]]:
    """Change bytes of the champion's file on the disk."""
    folder = operation.store / "models" / operation.world.name
    version = json.loads((folder / "champion.json").read_text())["version"]
    path = folder / version / "model.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:1000] + bytes(64) + content[1064:])
    yield {}
    path.write_bytes(content)


@contextmanager
def _corrupted_history(operation: Operation) -> Iterator[dict[str, str]]:
    """Truncate a file of the history on the disk."""
    folder = operation.store / "history" / operation.world.name / "demand"
    path = max(folder.glob("*.parquet"), key=lambda p: p.stat().st_size)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
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

#: Faults by number of the run, for ninety runs. A series begins at run 20 and one ends at run 45.
NINETY = {
    6: "late feed", 10: "missing feed", 15: "corrupted file", 22: "killed training", 27: "killed writer",
    31: "hung source", 36: "revised actuals", 41: "wrong values", 47: "corrupted champion", 52: "corrupted history",
    58: "late feed", 59: "late feed", 60: "missing feed", 66: "killed training", 71: "killed writer",
    76: "revised actuals", 81: "corrupted file", 86: "hung source",
}  # fmt: skip
