"""Two weeks of nightly runs in this process, with faults in the store and in the code. `make operation` does a year."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import operation_journal as journal
from benchmarks.faults import CODE, FAULTS, STORE, schedule
from benchmarks.operation import Operation, sample
from benchmarks.operation_proof import prove
from benchmarks.operation_report import write

pytestmark = pytest.mark.training

_FAULTS = {
    1: "failing stage", 2: "null champion.json", 3: "folder for model.onnx", 4: "flipped history", 5: "stray files",
    6: "null record", 7: "unwritable latest", 8: "failing call", 9: "flipped score file", 10: "earlier run again",
    11: "failed training", 12: "clock set back",
}  # fmt: skip
_RUNS = 15


def test_every_run_publishes_whatever_fails_and_no_incomplete_one_is_called_complete(tmp_path: Path) -> None:
    operation = Operation(
        sample(), tmp_path, _FAULTS, begins=4, ends=9, environment={}, budget="300s", deadline="1h", every="28d",
        hidden_size=16, updates=100, command_every=_RUNS + 1,
    )  # fmt: skip
    operation.train_first()
    path = tmp_path / "journal.jsonl"
    for number in range(_RUNS):
        entry = journal.observe(operation, operation.run(number))
        journal.append(path, entry)
        assert entry.published is not None, entry
        assert entry.exit_status in {0, 3} and not entry.called_complete and not entry.without_reason, entry
        assert entry.is_latest or entry.fault == "unwritable latest", entry
    entries = journal.read(path)
    assert [entry.fault for entry in entries[1:13]] == list(_FAULTS.values())
    assert entries[0].rows == {"model": 72} and entries[-1].files > entries[0].files
    proof = prove(operation.store, "sample", _RUNS, {})
    assert proof.scores > 14 * 72
    (tmp_path / "proof.json").write_text(f'{{"store": "./store", "rows": {{"model": 1}}, "scores": {proof.scores}}}')
    write(tmp_path / "operation.md", tmp_path / "operation.png", [tmp_path], 3600)
    assert "| flipped history | 1 |" in (tmp_path / "operation.md").read_text()
    assert (tmp_path / "operation.png").stat().st_size > 10_000


def test_a_year_has_every_fault_several_times_and_ends_without_one() -> None:
    faults = schedule(365, 60)
    names = list(faults.values())
    assert set(names) == set(FAULTS) - {""}
    assert all(names.count(name) >= 2 for name in {**STORE, **CODE})
    assert max(faults) < 361 and not any((number + 1) % 60 == 0 for number in faults)
