"""Training beside neuralforecast's LSTM and a plain loop: `python -m benchmarks.race.fit PYTHON`.

Windows learned from in a CPU-second, on one thread: two runs of a forecaster that differ in their number of updates,
so that its start counts for nothing. 200 synthetic series of 60 days, 168 hours of context, 24 of horizon, nine
quantiles, hidden size 128, 128 windows an update. Medians of runs that take turns. Prints Markdown.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.many import make
from benchmarks.race.cost import loads, measured
from benchmarks.race.peers import PEER, history

ROUNDS = 3
WINDOWS, CONTEXT, HORIZON, HIDDEN = 128, 168, 24, 128
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SERIES, _HOURS = 200, 60 * 24


def main() -> None:
    """Run everything and print the table."""
    python, load = sys.argv[1], os.getloadavg()[0]

    def here(call: str) -> Callable[[int], list[str]]:
        return lambda updates: [sys.executable, "-c", f"from benchmarks.race import fit; fit.{call.format(updates)}"]

    with tempfile.TemporaryDirectory() as scratch:
        rows = str(history(make(Path(scratch) / "many", _SERIES, _HOURS)))
        # The command of so many updates, and two numbers of updates that are far enough apart to be told.
        runs: dict[str, tuple[Callable[[int], list[str]], int, int]] = {
            "neuralforecast LSTM": (lambda updates: [python, PEER, "train", "LSTM", rows, str(updates)], 5, 25),
            "a plain loop, DataLoader and nn.LSTM over hours": (here("plain({})"), 10, 60),
            "Gatecast, float32": (here("gatecast({}, False)"), 50, 450),
            "Gatecast, bfloat16": (here("gatecast({}, True)"), 50, 450),
        }
        speed: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, (command, few, many) in runs.items():
                cpu = [measured(command(updates), one_thread=True)[0].cpu for updates in (few, many)]
                speed[name].append(WINDOWS * (many - few) / (cpu[1] - cpu[0]))
    print("| | windows a CPU-second | |\n|---|---:|---:|")
    medians = {name: statistics.median(found) for name, found in speed.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"| {name} | {median:,.0f} | {median / first:.1f} x |")
    print(loads(load))


def gatecast(updates: int, bfloat16: bool) -> None:
    """So many updates by the product's own loop."""
    import numpy as np
    import torch

    from model.panel import Channel, Panel, RevisionLayer
    from model.spec import ModelSpec
    from model.training import fit
    from model.training.samples import sampler

    if bfloat16 and not torch.cpu._is_amx_tile_supported():
        sys.exit("this processor has no tiles for bfloat16")
    fit._fast_bfloat16 = lambda: bfloat16  # the choice that it makes from the processor
    fit._THREADS = 1
    names = tuple(f"s{number:03}" for number in range(_SERIES))
    spec = ModelSpec(
        "1h",
        "UTC",
        None,
        HORIZON,
        CONTEXT,
        168,
        24,
        LEVELS,
        0.0,
        None,
        (),
        (),
        "quantile",
        "lstm",
        HIDDEN,
        1,
        1,
        0,
        names,
    )
    first = 400_000
    panel = Panel(spec.grid, names, first, Channel("y", (RevisionLayer(_values(), None),)), (), ())
    source = sampler(spec, panel, first + _HOURS - HORIZON, 0, first)
    ticks = itertools.count()  # a clock that counts updates
    fit.fit(
        spec, source, source.draw(np.random.default_rng(0), WINDOWS), 7, updates, lambda: next(ticks), lambda _: None
    )


def plain(updates: int) -> None:
    """So many updates as a tutorial writes them: a Dataset of windows, a DataLoader, an LSTM over the hours."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset, RandomSampler

    torch.set_num_threads(1)
    values = torch.from_numpy(_values())
    starts = _HOURS - CONTEXT - HORIZON

    class Windows(Dataset):
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
        loss.backward()
        optimiser.step()


def _values():
    """(series, hours) float32: a day, a week and noise."""
    import numpy as np

    hours = np.arange(_HOURS)
    shape = 1000 + 300 * np.sin(2 * np.pi * hours / 24) + 100 * np.sin(2 * np.pi * hours / 168)
    return (shape + 50 * np.random.default_rng(0).normal(size=(_SERIES, _HOURS))).astype(np.float32)


if __name__ == "__main__":
    main()
