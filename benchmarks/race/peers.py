"""Gatecast beside neuralforecast's LSTM and NHITS: `python -m benchmarks.race.peers PYTHON [LARGEST]`.

PYTHON is the interpreter of an environment that has neuralforecast. Every run is a process of its own (wait4), reads
the same Parquet history and writes a Parquet file with nine quantiles of 24 steps. Prints Markdown.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.first_light import machine
from benchmarks.many import make
from benchmarks.race.cost import forecasting, measured

SIZES = (200, 2_000, 20_000, 100_000)
_PEER = str(Path(__file__).parent / "peer.py")


def main() -> None:
    """Run everything and print the table."""
    python, largest = sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else SIZES[-1]
    load = os.getloadavg()[0]
    version = "from importlib.metadata import version; print(version('neuralforecast'))"
    version = subprocess.run([python, "-c", version], check=True, capture_output=True, text=True).stdout.strip()
    print(f"{machine()}; the peers: neuralforecast {version}, on one thread\n")
    print("| series | | wall s | CPU s | peak MB | CPU ms a series |\n|---:|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        few = make(Path(scratch) / "few", SIZES[0])
        models = {}
        for model in ("LSTM", "NHITS"):
            models[model] = str(Path(scratch) / model)
            measured([python, _PEER, "fit", model, models[model], str(_history(few))])
        for size in (size for size in SIZES if size <= largest):
            path = make(Path(scratch) / str(size), size)
            runs = {"gatecast": forecasting(path)}
            for model, folder in models.items():
                runs[model] = [python, _PEER, "predict", folder, str(_history(path)), str(path.parent / "peer.parquet")]
            for name, command in runs.items():
                cost, _ = measured(command)
                each = 1e3 * cost.cpu / size
                print(
                    f"| {size:,} | {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.memory:.0f} | {each:.3f} |",
                    flush=True,
                )
    print(f"\nLoad average before: {load:.1f}; after, with this: {os.getloadavg()[0]:.1f}.")


def _history(path: Path) -> Path:
    return next((path.parent / "store").glob("history/*/*/*.parquet"))


if __name__ == "__main__":
    main()
