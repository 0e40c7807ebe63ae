"""Gatecast beside neuralforecast's LSTM and NHITS: `python -m benchmarks.race.peers PYTHON [LARGEST]`.

Prints Markdown. PYTHON is the interpreter of an environment that has neuralforecast. Every run is a new process
(wait4), reads the same Parquet history, and writes a Parquet file with nine quantiles of 24 steps. All models have 168
hours of context and hidden size 128. "One" means one thread of every library on one core, with medians of alternating
runs. "Default" means the libraries' default threads, in one run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.many import make
from benchmarks.race.cost import forecast_command, load_note, measure, median_costs

ROUNDS = {200: 3, 2_000: 3, 20_000: 3, 100_000: 1}
# Threads of the LSTM wait for each other: this many series take four minutes on a busy machine.
_MOST_WITH_DEFAULT_THREADS = 20_000
PEER = str(Path(__file__).parent / "peer.py")


def main() -> None:
    """Measure all and print the table."""
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
            measure([python, PEER, "fit", model, models[model], str(history(few))])
        for size in (size for size in ROUNDS if size <= largest):
            path = make(Path(scratch) / str(size), size)
            runs = {"Gatecast": forecast_command(path)}
            for model, folder in models.items():
                runs[model] = [python, PEER, "predict", folder, str(history(path)), str(path.parent / "peer.parquet")]
            for threads, one_thread in (("one", True), ("default", False)):
                if not one_thread and size > _MOST_WITH_DEFAULT_THREADS:
                    continue
                costs = median_costs(runs, ROUNDS[size] if one_thread else 1, one_thread)
                for name, cost in costs.items():
                    ratios = " | ".join(f"{it / ours:.1f} x" for it, ours in zip(cost, costs["Gatecast"], strict=True))
                    print(
                        f"| {size:,} | {threads} | {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.memory:.0f} "
                        f"| {ratios if name in models else ' | | '} |", flush=True,
                    )  # fmt: skip
    print(load_note(load))


def history(path: Path) -> Path:
    """Return the Parquet file with the history in the store of a pipeline file."""
    return next((path.parent / "store").glob("history/*/*/*.parquet"))


if __name__ == "__main__":
    main()
