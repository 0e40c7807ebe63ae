"""How far a forecast of 100,000 series is above what it cannot do without: `python -m benchmarks.race.floor`.

The practical floor, each part alone and on one thread: the network's arithmetic in ONNX Runtime, the decoding of the
history's columns, the encoding of the very rows that were published. The machine's own: the network's multiplications
at the speed of a matrix product, its bytes at the speed of copying. All take turns: medians of five rounds, in each of
which everything is the least of three tries. CPU seconds. Prints Markdown.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.many import make
from benchmarks.race.cost import forecasting, in_turns, loads, measured
from benchmarks.race.parts import TRIES

_SERIES = 100_000
_ROUNDS = 5


def main() -> None:
    """Run everything and print the tables."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        path = make(Path(scratch) / "many", _SERIES)
        measured(forecasting(path))
        parts, whole, ratios = [], [], []
        for _ in range(_ROUNDS):
            # The least of a few, as of the parts: what others do on the machine only adds.
            whole.append(min((measured(forecasting(path))[0] for _ in range(TRIES)), key=lambda cost: cost.cpu))
            _, said = measured([sys.executable, "-m", "benchmarks.race.parts", str(path), str(_SERIES)], True)
            parts.append(json.loads(said))
            ratios.append(whole[-1].cpu / _floor(parts[-1]))
        start = in_turns({"": forecasting(make(Path(scratch) / "one", 1))}, _ROUNDS)[""].cpu

    def middle(*names: str) -> float:
        found = parts
        for name in names:
            found = [part[name] for part in found]
        return statistics.median(found)

    chunk = str(parts[0]["chunk"])
    cpu, floor = statistics.median(cost.cpu for cost in whole), statistics.median(map(_floor, parts))
    print(f"| CPU s for {_SERIES:,} series | |\n|---|---:|")
    print(f"| the network's arithmetic, in chunks of {chunk} | {middle('arithmetic', chunk):.2f} |")
    print(f"| decoding the history | {middle('decode'):.2f} |\n| encoding the file | {middle('encode'):.2f} |")
    print(f"| practical floor | {floor:.2f} |")
    print(f"| `gatecast forecast` | {cpu:.2f} = {statistics.median(ratios):.2f} x the floor |")
    print(f"| of which a forecast of one series, the start above all | {start:.2f} |")
    print(f"| peak MB | {statistics.median(cost.memory for cost in whole):.0f} |")
    gflops, work = middle("gflops"), parts[0]["gflop"] * _SERIES
    copied = parts[0]["bytes"] / 1e9 / middle("gigabytes")
    print("\n| the machine | |\n|---|---:|")
    print(f"| one core in a product of float32 matrices | {gflops:.0f} GFLOP/s |")
    print(f"| one core in copying | {middle('gigabytes'):.1f} GB/s |")
    print(f"| multiplying and adding: {work:.0f} GFLOP at that speed | {work / gflops:.2f} s |")
    print(f"| the history's columns and the rows, {parts[0]['bytes'] / 1e6:.0f} MB, at that speed | {copied:.2f} s |")
    print(f"| our share of the two | {(work / gflops + copied) / cpu:.0%} |")
    print(f"| ONNX Runtime's recurrent kernel, of the matrix product's speed | {middle('recurrent') / gflops:.0%} |")
    print(f"| the whole network, of the matrix product's speed | {work / middle('arithmetic', chunk) / gflops:.0%} |")
    chunks = parts[0]["arithmetic"]
    print("\n| windows in a chunk | " + " | ".join(chunks) + " |\n|---|" + "---:|" * len(chunks))
    print("| CPU s | " + " | ".join(f"{middle('arithmetic', size):.2f}" for size in chunks) + " |")
    print(loads(load))


def _floor(part: dict) -> float:
    return part["arithmetic"][str(part["chunk"])] + part["decode"] + part["encode"]


if __name__ == "__main__":
    main()
