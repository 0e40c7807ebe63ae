"""Faults of the simulated operation: sources, processes, and the table of all faults.

Each is made for real around one nightly run. Damage in the store stays, unless the fault says that it is undone.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from benchmarks import code_faults, store_faults

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
        uri = f"http://127.0.0.1:{server.getsockname()[1]}/demand.csv"
        yield {"GATECAST_FEED__DEMAND__URI": uri, "GATECAST_FORECAST__DEADLINE": operation.hung_deadline}


@contextmanager
def _killed_process(operation: Operation, library: str, count: int = 1) -> Iterator[dict[str, str]]:
    """Kill the first `count` stage processes of the command that load `library`."""
    stop, killed = threading.Event(), set[str]()

    def kill() -> None:
        while len(killed) < count and not stop.wait(0.03):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                    is_stage = (
                        parent == operation.running and b"flows.stage_process" in (process / "cmdline").read_bytes()
                    )
                    if is_stage and process.name not in killed and f"/{library}/" in (process / "maps").read_text():
                        os.kill(int(process.name), signal.SIGKILL)
                        killed.add(process.name)
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
    """Kill the process that decides about a training, and the one that forecasts and writes."""
    with _killed_process(operation, "onnxruntime", 2) as environment:
        yield environment


@contextmanager
def _revised_actuals(operation: Operation) -> Iterator[dict[str, str]]:
    """Revise the values of the last days at the source, permanently."""
    operation.revise(operation.number)
    operation.publish_sources(operation.world.issue_time(operation.number))
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
def _garbled_file(operation: Operation) -> Iterator[dict[str, str]]:
    """Replace the file by random bytes."""
    (operation.folder / "demand.parquet").write_bytes(operation.random.randbytes(5000))
    yield {}


@contextmanager
def _garbled_table(operation: Operation) -> Iterator[dict[str, str]]:
    """Replace every value by a text that is no number."""
    path = operation.folder / "demand.parquet"
    pl.read_parquet(path).with_columns(y=pl.lit("n/a?")).write_parquet(path)
    yield {}


@contextmanager
def _missing_weather(operation: Operation) -> Iterator[dict[str, str]]:
    """Remove the covariate's file, or the target's if there is no covariate."""
    name = "demand" if operation.world.weather is None else "weather"
    (operation.folder / f"{name}.parquet").unlink()
    yield {}


@contextmanager
def _killed_night(operation: Operation) -> Iterator[dict[str, str]]:
    """Kill the command itself at a random moment. The scheduler then starts the run again."""
    issue = operation.world.issue_time(operation.number)
    process = operation.start_command(issue, {})
    time.sleep(operation.random.uniform(0.2, 9.0))
    children = _descendants(process.pid)
    process.kill()
    process.communicate()
    operation.orphans = _survivors(children, 15.0)
    operation.detail = "before its end" if process.returncode < 0 else "after its end"
    yield {}


@contextmanager
def _failed_training(operation: Operation) -> Iterator[dict[str, str]]:
    """Make a training due, and fail in it."""
    error = operation.turn("failed training") % len(code_faults.ERRORS)
    with code_faults.raising_stage(operation, "train", error) as environment:
        yield environment


@contextmanager
def _earlier_run_again(operation: Operation) -> Iterator[dict[str, str]]:
    """Repeat the run of the previous issue time after this one. The newest forecast must stay the latest."""
    yield {}
    operation.run_again = operation.number - 1


def _descendants(root: int) -> set[int]:
    """Return the processes that a process started, at any depth."""
    parents: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, added = {root}, True
    while added:
        children = {pid for pid, parent in parents.items() if parent in found}
        added = not children <= found
        found |= children
    return found - {root}


def _survivors(processes: set[int], limit: float) -> int:
    """Return how many of the processes still run after a limit in seconds."""
    end = time.monotonic() + limit
    while processes and time.monotonic() < end:
        time.sleep(0.1)
        processes = {pid for pid in processes if _runs(pid)}
    return len(processes)


def _runs(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


SOURCES: dict[str, Fault] = {
    "late feed": _late_feed,
    "missing feed": _missing_feed,
    "missing weather": _missing_weather,
    "corrupted file": _corrupted_file,
    "garbled file": _garbled_file,
    "garbled table": _garbled_table,
    "hung source": _hung_source,
    "revised actuals": _revised_actuals,
    "wrong values": _wrong_values,
}
STORE: dict[str, Fault] = {
    "corrupted champion": store_faults.corrupted_champion,
    "truncated champion.json": store_faults.truncated_champion,
    "null champion.json": store_faults.null_champion,
    "flipped champion.json": store_faults.flipped_champion,
    "folder for model.onnx": store_faults.folder_for_model,
    "folder for manifest.json": store_faults.folder_for_manifest,
    "corrupted history": store_faults.truncated_history,
    "flipped history": store_faults.flipped_history,
    "unreadable history": store_faults.unreadable_history,
    "null record": store_faults.null_record,
    "folder for a record": store_faults.folder_for_record,
    "stray files": store_faults.stray_files,
    "unwritable latest": store_faults.unwritable_latest,
    "flipped score file": store_faults.flipped_score,
    "flipped quarantine": store_faults.flipped_quarantine,
}
#: Faults that need runs in this process.
CODE: dict[str, Fault] = {
    "failing stage": code_faults.failing_stage,
    "failing call": code_faults.failing_call,
    "failed training": _failed_training,
    "clock set back": code_faults.clock_set_back,
    "earlier run again": _earlier_run_again,
}
#: Faults that need runs of the command, in processes of their own.
PROCESSES: dict[str, Fault] = {
    "killed training": _killed_training,
    "killed writer": _killed_writer,
}
KILLED: dict[str, Fault] = {"killed night": _killed_night}

FAULTS: dict[str, Fault] = {"": _nothing, **SOURCES, **STORE, **CODE, **PROCESSES, **KILLED}

#: Order of the faults. Those with many variants come more often.
_CYCLE = [
    *SOURCES, "failing stage", "failing call", *STORE, "failing stage", "failing call", *CODE, "failing call",
    "failing stage", *PROCESSES, "failing call", *KILLED, "failing stage", "failing call", "killed night",
]  # fmt: skip
_FIRST, _EVERY, _QUIET = 4, 3, 4  # first run with a fault, runs between two, and last runs without one


def schedule(runs: int, command_every: int) -> dict[int, str]:
    """Return the faults by number of the run: every third run, but not one that is left to the command."""
    faulty = [run for run in range(_FIRST, runs - _QUIET, _EVERY) if (run + 1) % command_every]
    return {run: _CYCLE[turn % len(_CYCLE)] for turn, run in enumerate(faulty)}
