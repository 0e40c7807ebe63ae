"""What goes wrong in a night of the simulated operation, done for real: each undoes no more than itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from benchmarks.operation import Operation

#: Makes a night's fault happen around its run; gives what the command's environment needs for it.
Fault = Callable[["Operation"], Any]


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
                    ours = parent == operation.running and b"flows.stage_process" in (place / "cmdline").read_bytes()
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
    operation.publish_sources(issue)
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
