"""Time that Prefect adds to a nightly run: `python -m benchmarks.race.orchestration`. Prints Markdown.

The stages of one run of the embedded sample are run one after the other without Prefect. The same run is then done by
`gatecast nightly`, on Prefect's embedded API and against a running server. Figures are wall-clock seconds, the medians
of alternating runs. The time beyond the stages alone is the orchestration's.
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
from benchmarks.race.cost import load_note
from benchmarks.scale import prefect_server

_RUNS = 5
#: Seconds that a stage may take.
_LIMIT = 300.0
_STAGES: dict[str, dict[str, None]] = {
    "ingest": {"within": None}, "forecast": {"within": None}, "score": {}, "report": {},
}  # fmt: skip


def main() -> None:
    """Measure all and print the table."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch, prefect_server(Path(scratch) / "server") as server:
        os.environ |= {"GATECAST_PIPELINE__STORE": f"{scratch}/store", "GATECAST_TRAINING__BUDGET": "10s"}
        _gatecast("ingest", "--as-of")
        _gatecast("train", "--as-of")
        ways: dict[str, Callable[[], None]] = {
            "the stages alone": _stages,
            "`gatecast nightly`, Prefect embedded": lambda: _nightly({"PREFECT_HOME": f"{scratch}/embedded"}),
            "`gatecast nightly`, a running server": lambda: _nightly(server),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(_RUNS):
            for name, run in ways.items():
                started = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - started)
    alone = statistics.median(seconds["the stages alone"])
    print("| one nightly run of the sample | wall s | beyond the stages |\n|---|---:|---:|")
    for name, each in seconds.items():
        median = statistics.median(each)
        print(f"| {name} | {median:.1f} | {median - alone:.1f} |")
    print(f"\nMedians of {_RUNS} runs.{load_note(load)}")


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
