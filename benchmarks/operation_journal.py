"""Journal of a simulated operation: one line of JSON per run, so that an interrupted operation goes on.

Each entry has what the run published, what it cost, and how large the store is. It also names the series that were
called complete although an input was missing, by the proof from the Parquet files.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.operation import Operation, RunResult
from benchmarks.operation_proof import find_incomplete
from storage.store import FolderStore

_STAMP = "%Y%m%dT%H%M%SZ"
_copied: dict[Path, str] = {}  # ETag of the object of which a file is a copy


@dataclass(frozen=True)
class Entry:
    """One run.

    Attributes:
        number: Number of the run, from 0.
        issue: Issue time, ISO 8601.
        fault: Name of its fault, '' without one.
        detail: Facts of the fault.
        in_process: Whether it ran in the process of the simulation.
        exit_status: Exit status of the command.
        seconds: Duration of the run.
        cpu: CPU-seconds of this process in the run. A run of the command has its own process.
        published: Seconds from the start of the run until its file was there, None without a file.
        rows: Rows of the forecast by status.
        reasons: Reasons of rows that are not `model`, and their rows.
        without_reason: Rows that are not `model` and have no reason.
        called_complete: Series called complete although an input was missing.
        inputs: Feeds that the run itself calls incomplete.
        failures: Failures in the run record.
        error: Error of a run without a record.
        is_latest: Whether latest/ has the newest forecast.
        orphans: Processes that outlived a killed command.
        memory: Memory of the process of the simulation in MB (resident).
        files: Files in the store.
        megabytes: Size of the store.
        parts: History parts of the target.
    """

    number: int
    issue: str
    fault: str
    detail: str
    in_process: bool
    exit_status: int
    seconds: float
    cpu: float
    published: float | None
    rows: dict[str, int]
    reasons: dict[str, int]
    without_reason: int
    called_complete: list[str]
    inputs: list[str]
    failures: dict[str, str]
    error: str
    is_latest: bool
    orphans: int
    memory: float
    files: int
    megabytes: float
    parts: int


def read(path: Path) -> list[Entry]:
    """Return the entries of a journal, none if there is no file."""
    if not path.exists():
        return []
    return [Entry(**json.loads(line)) for line in path.read_text().splitlines()]


def append(path: Path, entry: Entry) -> None:
    """Append one entry to a journal."""
    with path.open("a") as file:
        file.write(json.dumps(asdict(entry)) + "\n")


def observe(operation: Operation, result: RunResult) -> Entry:
    """Return the entry of a run that has just ended."""
    name, issue = operation.world.name, operation.world.issue_time(result.number)
    store = mirrored(operation)
    forecast = next((store / "forecasts" / f"pipeline={name}").rglob(f"{issue.strftime(_STAMP)}.parquet"), None)
    record: dict[str, Any] = result.record or {}
    rows, reasons, without_reason = _statuses(forecast, operation.folder)
    files, size = _size(operation)
    return Entry(
        number=result.number,
        issue=issue.isoformat(),
        fault=result.fault,
        detail=result.detail,
        in_process=result.in_process,
        exit_status=result.exit_status,
        seconds=result.seconds,
        cpu=result.cpu,
        published=_published(operation, forecast, result),
        rows=rows,
        reasons=reasons,
        without_reason=without_reason,
        called_complete=_called_complete(operation, store, issue) if forecast else [],
        inputs=list((record.get("forecast") or {}).get("incomplete") or {}),
        failures=dict(record.get("failures") or {}),
        error=result.errors if not record else "",
        is_latest=_is_latest(store, name, forecast),
        orphans=result.orphans,
        memory=_memory(),
        files=files,
        megabytes=size / 1e6,
        parts=len(operation.open().keys(f"history/{name}/demand", "*.parquet")),
    )


def _statuses(forecast: Path | None, folder: Path) -> tuple[dict[str, int], dict[str, int], int]:
    if forecast is None:
        return {}, {}, 0
    rows = pl.read_parquet(forecast, columns=["status", "reason"])
    others = rows.filter(pl.col("status") != "model")
    reasons = Counter(reason.replace(f"{folder}/", "") for reason in others["reason"].drop_nulls())
    return dict(Counter(rows["status"])), dict(reasons), others["reason"].null_count()


def _published(operation: Operation, forecast: Path | None, result: RunResult) -> float | None:
    """Return the seconds until the forecast file was there: by the file's time, or by the record for a bucket."""
    if forecast is None:
        return None
    if operation.store_uri == "./store":
        return round(forecast.stat().st_mtime - result.started, 2)
    published = (result.record or {}).get("published_at")
    return result.seconds if published is None else datetime.fromisoformat(published).timestamp() - result.started


def _called_complete(operation: Operation, store: Path, issue: datetime) -> list[str]:
    world, truth = operation.world, operation.folder / "truth.parquet"
    operation.available(issue).write_parquet(truth)
    context = (world.context - 1) * world.period
    return find_incomplete(store, world.name, issue, context, truth, world.weather is not None)


def _is_latest(store: Path, name: str, forecast: Path | None) -> bool:
    latest = store / "latest" / f"{name}.parquet"
    return forecast is not None and latest.is_file() and latest.read_bytes() == forecast.read_bytes()


def _memory() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def _size(operation: Operation) -> tuple[int, int]:
    """Return the number of files in the store, and their bytes."""
    if operation.store_uri == "./store":
        sizes = [path.stat().st_size for path in operation.store.rglob("*") if path.is_file()]
    else:
        sizes = [entry["Size"] for entry in _objects(operation)]
    return len(sizes), sum(sizes)


def mirrored(operation: Operation) -> Path:
    """Return the folder of the store, or of a copy of its bucket that is as it is now."""
    store = operation.open()
    if isinstance(store, FolderStore):
        return operation.store
    copy, objects = operation.folder / "copy", list(_objects(operation))
    keys = {entry["Key"] for entry in objects}
    for path in copy.rglob("*"):
        if path.is_file() and path.relative_to(copy).as_posix() not in keys:
            path.unlink()
    for entry in objects:
        path = copy / entry["Key"]
        if not path.exists() or _copied.get(path) != entry["ETag"]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(store.get(entry["Key"]))
            _copied[path] = entry["ETag"]
    return copy


def _objects(operation: Operation) -> Iterator[Any]:
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    bucket = operation.store_uri.removeprefix("s3://")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from page.get("Contents", [])
