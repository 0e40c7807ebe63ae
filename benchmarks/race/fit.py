"""Training beside neuralforecast's LSTM and a plain loop: `python -m benchmarks.race.fit PYTHON`.

Prints Markdown: training windows per CPU-second, on one thread. Each figure is the difference of two runs with
different numbers of updates, so that the start of the process does not count. The data are 200 synthetic series of 60
days, with 168 hours of context, 24 of horizon and nine quantiles. The networks have hidden size 128 and 128 windows per
update. Figures are medians of alternating runs.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.many import make
from benchmarks.race.cost import load_note, measure
from benchmarks.race.peers import PEER, history

if TYPE_CHECKING:
    import numpy as np

ROUNDS = 3
WINDOWS, CONTEXT, HORIZON, HIDDEN = 128, 168, 24, 128
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SERIES, _HOURS = 200, 60 * 24


def main() -> None:
    """Measure all and print the table."""
    python, load = sys.argv[1], os.getloadavg()[0]

    def own_command(call: str) -> Callable[[int], list[str]]:
        return lambda updates: [sys.executable, "-c", f"from benchmarks.race import fit; fit.{call.format(updates)}"]

    with tempfile.TemporaryDirectory() as scratch:
        rows = str(history(make(Path(scratch) / "many", _SERIES, _HOURS)))
        # Each has a command for a number of updates, and two numbers whose difference can be measured.
        runs: dict[str, tuple[Callable[[int], list[str]], int, int]] = {
            "neuralforecast LSTM": (lambda updates: [python, PEER, "train", "LSTM", rows, str(updates)], 5, 25),
            "a plain loop, DataLoader and nn.LSTM over hours": (own_command("plain({})"), 10, 60),
            "Gatecast, float32": (own_command("gatecast({}, False)"), 50, 450),
            "Gatecast, bfloat16": (own_command("gatecast({}, True)"), 50, 450),
        }
        speed: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, (command, few, many) in runs.items():
                cpu = [measure(command(updates), one_thread=True)[0].cpu for updates in (few, many)]
                speed[name].append(WINDOWS * (many - few) / (cpu[1] - cpu[0]))
    print("| | windows a CPU-second | |\n|---|---:|---:|")
    medians = {name: statistics.median(speeds) for name, speeds in speed.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"| {name} | {median:,.0f} | {median / first:.1f} x |")
    print(load_note(load))


def gatecast(updates: int, bfloat16: bool) -> None:
    """Train for a number of updates with Gatecast's own loop."""
    import numpy as np
    import torch

    from model.panel import Channel, Panel, RevisionLayer
    from model.spec import ModelSpec
    from model.training.fit import fit
    from model.training.options import FitOptions, TrainingData
    from model.training.samples import build_sampler

    if bfloat16 and not torch.cpu._is_amx_tile_supported():
        sys.exit("This processor has no AMX tiles for bfloat16.")
    names = tuple(f"s{number:03}" for number in range(_SERIES))
    spec = ModelSpec(
        "1h", "UTC", None, HORIZON, CONTEXT, 168, 24, LEVELS, 0.0, None, (), (), "quantile", "lstm", HIDDEN, 1, 1, 0,
        names,
    )  # fmt: skip
    first = 400_000
    panel = Panel(spec.grid, names, first, Channel("y", (RevisionLayer(_values(), None),)), (), ())
    source = build_sampler(spec, panel, first + _HOURS - HORIZON, 0, first)
    data = TrainingData(source, source.draw(np.random.default_rng(0), WINDOWS))
    fit(data, FitOptions(7, max_updates=updates, threads=1, bfloat16=bfloat16))


def plain(updates: int) -> None:
    """Train for a number of updates as a tutorial does: a Dataset of windows, a DataLoader, an LSTM over hours."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset, RandomSampler

    torch.set_num_threads(1)
    values = torch.from_numpy(_values())
    starts = _HOURS - CONTEXT - HORIZON

    class Windows(Dataset[tuple[torch.Tensor, torch.Tensor]]):
        def __len__(self) -> int:
            return _SERIES * starts

        def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
            series, start = divmod(item, starts)
            window = values[series, start : start + CONTEXT + HORIZON] / 1000
            return window[:CONTEXT, None], window[CONTEXT:]

    lstm, head = nn.LSTM(1, HIDDEN, batch_first=True), nn.Linear(HIDDEN, HORIZON * len(LEVELS))
    optimiser = torch.optim.AdamW([*lstm.parameters(), *head.parameters()], lr=1e-3)
    levels = torch.tensor(LEVELS)
    windows = Windows()
    for past, future in DataLoader(windows, WINDOWS, sampler=RandomSampler(windows, num_samples=WINDOWS * updates)):
        error = future[..., None] - head(lstm(past)[0][:, -1]).reshape(-1, HORIZON, len(LEVELS))
        loss = torch.maximum(levels * error, (levels - 1) * error).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _values() -> np.ndarray:
    """Return float32 values with a daily and a weekly season and noise, shape (series, hours)."""
    import numpy as np

    hours = np.arange(_HOURS)
    shape = 1000 + 300 * np.sin(2 * np.pi * hours / 24) + 100 * np.sin(2 * np.pi * hours / 168)
    values: np.ndarray = (shape + 50 * np.random.default_rng(0).normal(size=(_SERIES, _HOURS))).astype(np.float32)
    return values


if __name__ == "__main__":
    main()
