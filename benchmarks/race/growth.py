"""Cost of a forecast by number of series and by context: `python -m benchmarks.race.growth [LARGEST]`.

Prints Markdown. Each figure is of `gatecast forecast` in a process of its own (wait4). The store has hourly history of
the length of the context for each series, and a champion of hidden size 128. A million series take 3 GB of disk.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks.many import make
from benchmarks.race.cost import forecast_command, load_note, median_costs

ROUNDS = {1: 5, 1_000: 5, 10_000: 3, 100_000: 3, 1_000_000: 1}
CONTEXTS = (168, 336, 672, 1_344)
#: Series of the runs with different contexts.
_SERIES = 10_000


def main() -> None:
    """Measure all and print the tables."""
    largest = int(sys.argv[1]) if sys.argv[1:] else max(ROUNDS)
    load = os.getloadavg()[0]
    print(
        "| series | wall s | CPU s | CPU relative to a tenth of the series | peak MB | history MB | file MB |\n"
        "|---:|---:|---:|---:|---:|---:|---:|"
    )
    cpu: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for size in (size for size in ROUNDS if size <= largest):
            path = make(Path(scratch) / str(size), size)
            cost = median_costs({"": forecast_command(path)}, ROUNDS[size])[""]
            cpu[size] = cost.cpu
            ratio = f"{cost.cpu / cpu[size // 10]:.1f} x" if size // 10 in cpu else ""
            print(
                f"| {size:,} | {cost.wall:.2f} | {cost.cpu:.2f} | {ratio} | {cost.memory:.0f} "
                f"| {_megabytes(path, 'history/**/*.parquet')} | {_megabytes(path, 'latest/*.parquet')} |", flush=True,
            )  # fmt: skip
        print(f"\n{_SERIES:,} series by the context:\n")
        print("| hours of context | wall s | CPU s | peak MB |\n|---:|---:|---:|---:|", flush=True)
        paths = {context: make(Path(scratch) / f"context{context}", _SERIES, context, context) for context in CONTEXTS}
        costs = median_costs({str(context): forecast_command(path) for context, path in paths.items()}, 3)
        for context, cost in costs.items():
            print(f"| {context} | {cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:.0f} |")
    print(load_note(load))


def _megabytes(path: Path, files: str) -> str:
    return f"{sum(file.stat().st_size for file in (path.parent / 'store').glob(files)) / 1e6:.1f}"


if __name__ == "__main__":
    main()
