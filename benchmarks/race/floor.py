"""Cost of a forecast of 100,000 series beside its lower bounds: `python -m benchmarks.race.floor`. Prints Markdown.

The practical lower bound is the sum of three parts, each alone and on one thread: the network in ONNX Runtime, decoding
the columns of the history, encoding the published rows. The machine's bound is the network's multiplications at the
speed of a matrix product, and its bytes at the speed of copying. All figures are CPU-seconds, the median of five
alternating rounds. In each round a figure is the least of three tries.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.many import make
from benchmarks.race.cost import forecast_command, load_note, measure, median_costs
from benchmarks.race.parts import TRIES

_SERIES = 100_000
_ROUNDS = 5


def main() -> None:
    """Measure all and print the tables."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        path = make(Path(scratch) / "many", _SERIES)
        measure(forecast_command(path))
        parts, runs, ratios = [], [], []
        for _ in range(_ROUNDS):
            # Other load on the machine only adds, so take the least of a few runs, as for the parts.
            runs.append(min((measure(forecast_command(path))[0] for _ in range(TRIES)), key=lambda cost: cost.cpu))
            _, output = measure([sys.executable, "-m", "benchmarks.race.parts", str(path), str(_SERIES)], True)
            parts.append(json.loads(output))
            ratios.append(runs[-1].cpu / _floor(parts[-1]))
        start = median_costs({"": forecast_command(make(Path(scratch) / "one", 1))}, _ROUNDS)[""].cpu

    def median(*names: str) -> float:
        values = parts
        for name in names:
            values = [part[name] for part in values]
        return float(statistics.median(values))

    chunk = str(parts[0]["chunk"])
    cpu, floor = statistics.median(cost.cpu for cost in runs), statistics.median(map(_floor, parts))
    print(f"| CPU s for {_SERIES:,} series | |\n|---|---:|")
    print(f"| the network's arithmetic, in chunks of {chunk} | {median('arithmetic', chunk):.2f} |")
    print(f"| decoding the history | {median('decode'):.2f} |\n| encoding the file | {median('encode'):.2f} |")
    print(f"| practical lower bound | {floor:.2f} |")
    print(f"| `gatecast forecast` | {cpu:.2f} = {statistics.median(ratios):.2f} x the bound |")
    print(f"| of which a forecast of one series, mostly the start of the process | {start:.2f} |")
    print(f"| peak MB | {statistics.median(cost.memory for cost in runs):.0f} |")
    gflops, work = median("gflops"), parts[0]["gflop"] * _SERIES
    copied = parts[0]["bytes"] / 1e9 / median("gigabytes")
    print("\n| the machine | |\n|---|---:|")
    print(f"| one core in a product of float32 matrices | {gflops:.0f} GFLOP/s |")
    print(f"| one core in copying | {median('gigabytes'):.1f} GB/s |")
    print(f"| multiplying and adding: {work:.0f} GFLOP at that speed | {work / gflops:.2f} s |")
    print(f"| the history's columns and the rows, {parts[0]['bytes'] / 1e6:.0f} MB, at that speed | {copied:.2f} s |")
    print(f"| share of both in the CPU of `gatecast forecast` | {(work / gflops + copied) / cpu:.0%} |")
    kernel, network = median("recurrent") / gflops, work / median("arithmetic", chunk) / gflops
    print(f"| speed of ONNX Runtime's recurrent kernel, relative to the matrix product | {kernel:.0%} |")
    print(f"| speed of the whole network, relative to the matrix product | {network:.0%} |")
    chunks = parts[0]["arithmetic"]
    print("\n| windows in a chunk | " + " | ".join(chunks) + " |\n|---|" + "---:|" * len(chunks))
    print("| CPU s | " + " | ".join(f"{median('arithmetic', size):.2f}" for size in chunks) + " |")
    print(load_note(load))


def _floor(part: dict[str, Any]) -> float:
    return float(part["arithmetic"][str(part["chunk"])] + part["decode"] + part["encode"])


if __name__ == "__main__":
    main()
