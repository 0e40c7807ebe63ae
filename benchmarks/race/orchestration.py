"""What Prefect adds to a night: `python -m benchmarks.race.orchestration`. Prints Markdown.

The stages of one night of the embedded sample, run one after the other without Prefect; then the same night as
`gatecast nightly`, on Prefect's embedded API and against a server that is up. Wall seconds, medians of runs that take
turns; what is more than the stages alone is the orchestration's.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.first_light import ISSUE, PIPELINE
from benchmarks.scale import prefect_server

_RUNS = 5
_LIMIT = 300.0  # seconds of a stage
_STAGES: dict[str, dict[str, None]] = {
    "ingest": {"within": None}, "forecast": {"within": None}, "score": {}, "report": {},
}  # fmt: skip


def main() -> None:
    """Run everything and print the table."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch, prefect_server(Path(scratch) / "server") as server:
        os.environ |= {"GATECAST_PIPELINE__STORE": f"{scratch}/store", "GATECAST_TRAINING__BUDGET": "10s"}
        _gatecast("ingest", "--as-of")
        _gatecast("train", "--as-of")
        nights: dict[str, Callable[[], None]] = {
            "the stages alone": _stages,
            "`gatecast nightly`, Prefect embedded": lambda: _nightly({"PREFECT_HOME": f"{scratch}/embedded"}),
            "`gatecast nightly`, a server that is up": lambda: _nightly(server),
        }
        spent: dict[str, list[float]] = {name: [] for name in nights}
        for _ in range(_RUNS):
            for name, night in nights.items():
                started = time.perf_counter()
                night()
                spent[name].append(time.perf_counter() - started)
    alone = statistics.median(spent["the stages alone"])
    print("| one night of the sample | wall s | more than the stages |\n|---|---:|---:|")
    for name, seconds in spent.items():
        middle = statistics.median(seconds)
        print(f"| {name} | {middle:.1f} | {middle - alone:.1f} |")
    print(f"\nMedians of {_RUNS}. Load average before: {load:.1f}; after, with this: {os.getloadavg()[0]:.1f}.")


def _stages() -> None:
    from flows import clock
    from flows.settings import file as pipeline_file
    from flows.stage_process import runner

    at = clock.parse_time(ISSUE, pipeline_file.read(PIPELINE).pipeline.timezone)
    for stage, options in _STAGES.items():
        runner.run_stage(stage, str(PIPELINE), at.isoformat(), _LIMIT, **options)


def _nightly(environment: dict[str, str]) -> None:
    _gatecast("nightly", "--issue-time", environment)


def _gatecast(command: str, option: str, environment: dict[str, str] | None = None) -> None:
    subprocess.run(
        [sys.executable, "-m", "flows", command, PIPELINE, option, ISSUE, "--quiet"], check=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


if __name__ == "__main__":
    main()
