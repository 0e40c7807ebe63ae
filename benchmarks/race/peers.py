"""Gatecast beside neuralforecast's LSTM and NHITS: `python -m benchmarks.race.peers PYTHON [LARGEST]`.

PYTHON is the interpreter of an environment that has neuralforecast. Every run is a process of its own (wait4), cold,
reads the same Parquet history and writes a Parquet file with nine quantiles of 24 steps; 168 hours of context each,
hidden size 128. One thread is one thread of every library on one core: medians of runs that take turns; what the
libraries do by default is run once. Prints Markdown.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.many import make
from benchmarks.race.cost import forecasting, in_turns, loads, measured

ROUNDS = {200: 3, 2_000: 3, 20_000: 3, 100_000: 1}
_DEFAULT_TO = 20_000  # series, which took the LSTM four minutes on a busy machine: its threads wait for each other
PEER = str(Path(__file__).parent / "peer.py")


def main() -> None:
    """Run everything and print the table."""
    python, largest = sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else max(ROUNDS)
    load = os.getloadavg()[0]
    version = "from importlib.metadata import version; print(version('neuralforecast'), version('torch'))"
    versions = subprocess.run([python, "-c", version], check=True, capture_output=True, text=True).stdout.split()
    print(f"The peers: neuralforecast {versions[0]} with torch {versions[1]}.\n")
    print("| series | threads | | wall s | CPU s | peak MB | wall | CPU | peak |")
    print("|---:|---|---|---:|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        few = make(Path(scratch) / "few", min(ROUNDS))
        models = {}
        for model in ("LSTM", "NHITS"):
            models[model] = str(Path(scratch) / model)
            measured([python, PEER, "fit", model, models[model], str(history(few))])
        for size in (size for size in ROUNDS if size <= largest):
            path = make(Path(scratch) / str(size), size)
            runs = {"Gatecast": forecasting(path)}
            for model, folder in models.items():
                runs[model] = [python, PEER, "predict", folder, str(history(path)), str(path.parent / "peer.parquet")]
            for threads, one in (("one", True), ("default", False)):
                if not one and size > _DEFAULT_TO:
                    continue
                costs = in_turns(runs, ROUNDS[size] if one else 1, one)
                for name, cost in costs.items():
                    times = " | ".join(f"{it / ours:.1f} x" for it, ours in zip(cost, costs["Gatecast"], strict=True))
                    print(
                        f"| {size:,} | {threads} | {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.memory:.0f} "
                        f"| {times if name in models else ' | | '} |", flush=True,
                    )  # fmt: skip
    print(loads(load))


def history(path: Path) -> Path:
    """The Parquet file that holds the history of a pipeline file's store."""
    return next((path.parent / "store").glob("history/*/*/*.parquet"))


if __name__ == "__main__":
    main()
