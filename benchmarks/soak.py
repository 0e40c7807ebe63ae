"""A year of nightly runs of two pipelines with faults: `make operation`.

`python -m benchmarks.soak run sample|daily FOLDER [--runs 365] [--s3]` does the runs of one pipeline. It goes on where
an interrupted one stopped. `python -m benchmarks.soak report OUT.md OUT.png FOLDER...` writes tables and a plot.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from benchmarks import operation_journal as journal
from benchmarks import operation_report
from benchmarks.faults import schedule
from benchmarks.operation import Operation, daily, sample
from benchmarks.operation_proof import prove

RUNS = 365
DEADLINE = 600  # seconds
_COMMAND_EVERY = 60
_BUCKET = "operation"
# The actuals of the sample end on 2018-10-31.
_WORLDS = {"sample": lambda: sample(date(2017, 10, 31)), "daily": lambda: daily(date(2025, 1, 1))}


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("world", choices=list(_WORLDS))
    run.add_argument("folder", type=Path)
    run.add_argument("--runs", type=int, default=RUNS)
    run.add_argument("--s3", action="store_true", help="keep the store on an S3 server that is started here")
    report = commands.add_parser("report")
    report.add_argument("table", type=Path)
    report.add_argument("picture", type=Path)
    report.add_argument("folders", type=Path, nargs="+")
    given = parser.parse_args()
    if given.command == "report":
        operation_report.write(given.table, given.picture, given.folders, DEADLINE)
    elif given.s3:
        with _bucket():
            soak(given.world, given.folder.resolve(), given.runs, f"s3://{_BUCKET}")
    else:
        soak(given.world, given.folder.resolve(), given.runs, "./store")


def soak(world: str, folder: Path, runs: int, store_uri: str) -> None:
    """Do the runs of one pipeline that its journal does not have yet, and prove the result from its files."""
    path = folder / "journal.jsonl"
    if store_uri.startswith("s3") and folder.exists() and not (folder / "proof.json").exists():
        shutil.rmtree(folder)  # its bucket ended with the server that held it
    if (folder / "proof.json").exists() and len(journal.read(path)) == runs:
        print(f"{folder} is complete. Remove it to repeat its runs.")
        return
    operation = make_operation(world, folder, runs, store_uri)
    done = journal.read(path)
    for number, fault in operation.faults.items():
        if fault == "revised actuals" and number < len(done):
            operation.revise(number)
    if not done:
        operation.train_first()
    for number in range(len(done), runs):
        entry = journal.observe(operation, operation.run(number))
        journal.append(path, entry)
        print(_line(entry), flush=True)
    entries = journal.read(path)
    late = {entry.issue: entry.published for entry in entries if entry.published and entry.published >= DEADLINE}
    proof = prove(journal.mirrored(operation), operation.world.name, runs, late)
    (folder / "proof.json").write_text(json.dumps(proof._asdict() | {"store": store_uri.partition(":")[0]}) + "\n")
    print(f"{proof.runs} files, rows {proof.rows}, {proof.scores} scores equal the recomputation.")


def make_operation(world: str, folder: Path, runs: int, store_uri: str) -> Operation:
    """Return an operation with a small network and faults of all kinds."""
    return Operation(
        _WORLDS[world](), folder, schedule(runs, _COMMAND_EVERY), begins=20, ends=runs // 2, environment={},
        deadline=f"{DEADLINE}s", hung_deadline="20s", every="28d", window="400d", hidden_size=16, updates=100,
        store_uri=store_uri, command_every=_COMMAND_EVERY, budget="120s", exports=folder.parent / "exports",
    )  # fmt: skip


def _line(entry: journal.Entry) -> str:
    rows = ", ".join(f"{count} {status}" for status, count in entry.rows.items())
    problems = [
        *(["no file"] if entry.published is None else []), *([f"{entry.orphans} orphans"] if entry.orphans else []),
        *([] if entry.is_latest else ["latest is another"]), *([f"error {entry.error[-200:]}"] if entry.error else []),
        *([f"called complete: {entry.called_complete}"] if entry.called_complete else []),
    ]  # fmt: skip
    return (
        f"| {entry.number} | {entry.issue[:10]} | {entry.fault} | {entry.detail} | {entry.exit_status} | "
        f"{entry.seconds:.1f} | {rows} | {'; '.join(each[:90] for each in entry.reasons)} | {'; '.join(problems)} |"
    )


@contextlib.contextmanager
def _bucket() -> Iterator[None]:
    """Run an S3 server in a process of its own, with an empty bucket. Its objects end with it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-central-1",
    }  # fmt: skip
    try:
        _create_bucket()
        yield
    finally:
        server.kill()
        server.wait()


def _create_bucket() -> None:
    import boto3
    from botocore.exceptions import EndpointConnectionError

    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    for _ in range(100):
        try:
            client.create_bucket(Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
            return
        except EndpointConnectionError:
            time.sleep(0.3)
    sys.exit("The S3 server did not start. Install moto: pip install 'gatecast[dev]'.")


if __name__ == "__main__":
    main()
