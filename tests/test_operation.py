"""A dozen nightly runs with faults of sources and processes. `make operation` does those of a year, with all faults.

The proof reads only the Parquet files that the runs leave behind.
"""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.operation import Operation, sample
from benchmarks.operation_proof import prove
from tests.support.commands import nightly

pytestmark = pytest.mark.prefect

FAULTS = {
    1: "late feed", 2: "missing feed", 3: "corrupted file", 4: "killed writer", 5: "hung source", 6: "revised actuals",
    7: "killed training", 8: "wrong values", 9: "corrupted champion", 10: "corrupted history",
}  # fmt: skip


class FastOperation(Operation):
    """Nightly runs in this process, except those of which a process is killed."""

    def run_command(self, issue: datetime, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        if "killed" in self.faults.get(len(self.results), ""):
            return super().run_command(issue, environment)
        options = ("--issue-time", issue.isoformat(), "--json")
        done = nightly(self.pipeline_path, self.environment, *options, **{**self.environment, **environment})
        return subprocess.CompletedProcess([], *done)


def test_every_run_publishes_in_time_with_reasons_and_is_scored(tmp_path: Path, prefect_server: dict[str, str]) -> None:
    # A network of the common test pipeline's shape, which needs no export of its own.
    settings = {"GATECAST_MODEL__MEMBERS": "1", "GATECAST_MODEL__HIDDEN_SIZE": "16"}
    updates = {"GATECAST_TRAINING__MAX_UPDATES": "400"}
    operation = FastOperation(
        sample(), tmp_path, FAULTS, begins=4, ends=9, environment={**prefect_server, **settings, **updates},
        budget="300s", deadline="1h",
    )  # fmt: skip
    operation.run(0)
    first = operation.results[0].record
    assert first is not None and first["train"]["decision"]["promoted"], first
    operation.environment["GATECAST_TRAINING__MAX_UPDATES"] = "20"
    for number in range(1, 12):
        operation.run(number)
    results = operation.results
    records = [result.record or {} for result in results]
    store = operation.store
    proof = prove(store, "sample", len(results))
    assert proof.scores > 11 * 60
    # The actuals of two issue times were revised, and only one of them was scored before: the hung source kept back the
    # actuals of the other.
    assert records[6]["score"]["revised"] >= 1
    for number in (2, 3, 4, 5, 7):
        assert results[number].exit_status == 3, results[number]
    reasons = [_reasons(record) for record in records]
    assert "no such file" in reasons[2] and "cannot be read as parquet" in reasons[3]
    assert "its process was killed" in reasons[4] and "no answer within" in reasons[5]
    assert "the retraining that was due failed" in reasons[7]
    # A champion that cannot be loaded makes a retrain due, and its model may serve the same issue time.
    assert "sha256 differs" in records[9]["train"]["due"]
    refused = pl.concat([pl.read_parquet(path) for path in (store / "quarantine/sample/demand").glob("*")])
    assert refused["reason"].str.contains("below the bound").any()
    feed = records[10]["ingest"]["feeds"]["demand"]
    assert len(feed["damaged"]) == 1 and feed["added"] > 1000, "the lost rows are read again"
    assert json.loads((store / "models/sample/champion.json").read_text())["version"]
    assert (store / "reports/sample.html").stat().st_size > 100_000


def _reasons(record: dict[str, Any]) -> str:
    return " | ".join(reason["reason"] for reason in record["forecast"]["reasons"])
