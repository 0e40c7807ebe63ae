"""One forecast by the number of series, Parquet to Parquet: `python -m benchmarks.race.growth [LARGEST]`.

`gatecast forecast` as a process of its own (wait4), from a store with a week of hourly history of each series and a
champion of hidden size 128. Beside it the floor: see `floor`. Prints Markdown; a million series take 3 GB of disk.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.first_light import machine
from benchmarks.many import make
from benchmarks.race.cost import forecasting, measured

SIZES = (1, 1_000, 10_000, 100_000, 1_000_000)
_FLOOR = 100_000  # series at which the floor is measured
_REPEATS = {1: 5, 1_000: 5, 10_000: 3, 100_000: 3}


def main() -> None:
    """Run everything and print the tables."""
    largest = int(sys.argv[1]) if sys.argv[1:] else SIZES[-1]
    load, floor = os.getloadavg()[0], {}
    print(
        f"{machine()}\n\n| series | wall s | CPU s | peak MB | history MB | file MB |\n|---:|---:|---:|---:|---:|---:|"
    )
    for size in (size for size in SIZES if size <= largest):
        with tempfile.TemporaryDirectory() as scratch:
            path = make(Path(scratch) / "many", size)
            costs = [measured(forecasting(path))[0] for _ in range(_REPEATS.get(size, 1))]
            cost = sorted(costs, key=lambda c: c.cpu)[len(costs) // 2]
            store = path.parent / "store"
            history, file = (
                sum(f.stat().st_size for f in store.glob(what)) / 1e6
                for what in ("history/**/*.parquet", "latest/*.parquet")
            )
            print(
                f"| {size:,} | {cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:.0f} | {history:.1f} | {file:.1f} |",
                flush=True,
            )
            if size == _FLOOR:
                _, said = measured([sys.executable, "-m", "benchmarks.race.floor", str(path), str(size)])
                floor, whole = json.loads(said), cost.cpu
    if floor:
        told(floor, whole)
    print(f"\nLoad average before: {load:.1f}; after, with this: {os.getloadavg()[0]:.1f}.")


def told(floor: dict, whole: float) -> None:
    """The floor, and how far above it the forecast is."""
    chunk = floor["chunk"]
    arithmetic = floor["arithmetic"][str(chunk)]
    total = arithmetic + floor["decode"] + floor["encode"]
    print(f"\n| CPU s for {_FLOOR:,} series | |\n|---|---:|")
    print(f"| the network's arithmetic, in chunks of {chunk} | {arithmetic:.2f} |")
    print(f"| decoding the history | {floor['decode']:.2f} |\n| encoding the file | {floor['encode']:.2f} |")
    print(f"| floor | {total:.2f} |\n| `gatecast forecast` | {whole:.2f} = {whole / total:.2f} x |")
    print(
        "\n| windows in a chunk | " + " | ".join(floor["arithmetic"]) + " |\n|---|" + "---:|" * len(floor["arithmetic"])
    )
    print("| CPU s | " + " | ".join(f"{seconds:.2f}" for seconds in floor["arithmetic"].values()) + " |")
    print(f"\nOne core: {floor['gflops']:.0f} GFLOP/s in a product of float32 matrices, ", end="")
    print(f"{floor['gigabytes']:.1f} GB/s in copying.")


if __name__ == "__main__":
    main()
