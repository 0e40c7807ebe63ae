"""Cost of one nightly run of the embedded sample: `make bench`. Prints Markdown and writes only to a scratch folder.

Each command runs in a process of its own, whose CPU and peak memory the kernel measures (wait4). Figures are medians of
five runs; ingest and training are run once.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from benchmarks.race.cost import Cost, measure

PIPELINE = Path(__file__).parent.parent / "deployments" / "load.toml"
ISSUE = "2018-09-01"
RUNS = 5


def main() -> None:
    """Measure all and print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["GATECAST_PIPELINE__STORE"] = scratch
        rows = {
            "`gatecast --help`": median(["--help"]),
            "`gatecast ingest`, 135,000 rows": run(["ingest", PIPELINE, "--as-of", ISSUE]),
            "`gatecast train`, budget 90 s": run(["train", PIPELINE, "--as-of", ISSUE]),
            "`gatecast forecast`, 3 series": median(["forecast", PIPELINE, "--issue-time", ISSUE]),
            "`gatecast nightly`, nothing to train": median(["nightly", PIPELINE, "--issue-time", ISSUE]),
        }
        manifest = json.loads(next(Path(scratch).glob("models/load/*/manifest.json")).read_text())
    print(f"{machine()}\n")
    print("| what | wall s | CPU s | peak MB |\n|---|---:|---:|---:|")
    for name, cost in rows.items():
        print(f"| {name} | {cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:.0f} |")
    folds = manifest["folds"]
    print(f"\nHeld out: {folds['count']} issue times, {folds['first'][:10]} to {folds['last'][:10]}\n")
    print("| | pinball | MAE | 80% interval covers |\n|---|---:|---:|---:|")
    for name, score in manifest["scores"].items():
        print(f"| {name} | {score['pinball']:.2f} | {score['mae']:.2f} | {score['coverage_80']:.1%} |")


def median(arguments: list[str | Path]) -> Cost:
    """Return the median of each figure over several runs."""
    costs = [run(arguments) for _ in range(RUNS)]
    return Cost(*(statistics.median(figures) for figures in zip(*costs, strict=True)))


def run(arguments: list[str | Path]) -> Cost:
    """Run the command once and return its cost."""
    return measure([sys.executable, "-m", "flows", *map(str, arguments)])[0]


def processor() -> str:
    """Return the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def machine() -> str:
    """Return processor, cores and versions of libraries."""
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("torch", "onnxruntime", "polars", "prefect"))
    return f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


if __name__ == "__main__":
    main()
