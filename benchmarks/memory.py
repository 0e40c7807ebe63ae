"""What the gates buy: `make memory`. The LSTM's cell against the plain recurrent one, equal in everything else.

python -m benchmarks.memory OUT.md OUT.png

Recall: a value is shown, noise follows, and so many steps later the value is asked for. Nothing but the recurrent state
can carry it. Step by step, and in segments of a day of hours as the network folds them. Load: `gatecast train` on the
embedded sample with `cell` = lstm and rnn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

import altair as alt
import polars as pl

from benchmarks.first_light import ISSUE, PIPELINE, machine

CELLS = ("lstm", "rnn")
LAGS = (10, 30, 100, 250, 500)
SEGMENTS = (1, 24)
RECALL_SEEDS = (1, 2)
LOAD_SEEDS = (1, 2)
UPDATES = 1000
BATCH, HIDDEN, RATE = 32, 32, 5e-3
SOLVED = 0.05  # mean squared error of a value of variance 1: 95% of it came through
_LAST = 50  # updates that an error is the mean of
_LOAD = {
    "GATECAST_MODEL__HIDDEN_SIZE": "64",
    "GATECAST_TRAINING__WINDOW": "730d",
    # Longer than the fit's own number of updates takes: what ends it is the data, not the clock.
    "GATECAST_TRAINING__BUDGET": "900s",
}


class Recall(NamedTuple):
    """One network: the error it ended with, and after how many updates."""

    cell: str
    segment: int
    lag: int
    seed: int
    error: float
    updates: int


def main(table: str, picture: str) -> None:
    """Run both tasks; write the tables and the picture."""
    started = time.process_time()
    with ThreadPoolExecutor(1) as beside:
        trained = beside.map(load, *zip(*product(CELLS, LOAD_SEEDS), strict=True))
        recalled = pl.DataFrame(list(recall()))
        loaded = list(trained)
    by_hand = time.process_time() - started
    children = os.times()
    cpu = by_hand + children.children_user + children.children_system
    Path(table).write_text("\n".join(report(recalled, loaded, cpu)) + "\n")
    draw(recalled).save(picture, scale_factor=2)
    print(f"wrote {table} and {picture}")


def recall() -> Iterator[Recall]:
    """Every cell at every lag."""
    for segment in SEGMENTS:
        for lag in LAGS:
            for cell in CELLS:
                for seed in RECALL_SEEDS:
                    if segment < lag:
                        yield remember(cell, segment, lag, seed)


def remember(cell: str, segment: int, lag: int, seed: int) -> Recall:
    """Train one network to give back what it was shown `lag` steps ago."""
    import torch

    from model.training.network import raise_forget_bias

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    recurrent = {"lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}[cell](2 * segment, HIDDEN, batch_first=True)
    if isinstance(recurrent, torch.nn.LSTM):
        raise_forget_bias(recurrent)
    out = torch.nn.Linear(HIDDEN, 1)
    parameters = [*recurrent.parameters(), *out.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    length = -(-(lag + 1) // segment) * segment
    errors: list[float] = []
    while len(errors) < UPDATES:
        shown = torch.randn(BATCH, length, 2)  # values, and a mark at the one to keep
        shown[:, :, 1] = 0
        shown[:, length - lag - 1, 1] = 1
        states, _ = recurrent(shown.reshape(BATCH, length // segment, 2 * segment))
        loss = ((out(states[:, -1])[:, 0] - shown[:, length - lag - 1, 0]) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        errors.append(loss.item())
        if len(errors) >= _LAST and statistics.fmean(errors[-_LAST:]) < SOLVED / 2:
            break
    return Recall(cell, segment, lag, seed, statistics.fmean(errors[-_LAST:]), len(errors))


def load(cell: str, seed: int) -> dict[str, float | str]:
    """Train on the sample; the scores on the nights held out, and what it took."""
    with tempfile.TemporaryDirectory() as store:
        environment = {
            **os.environ, **_LOAD, "GATECAST_PIPELINE__STORE": store, "GATECAST_MODEL__CELL": cell,
            "GATECAST_TRAINING__SEED": str(seed),
        }  # fmt: skip

        def gatecast(*arguments: str) -> dict:
            command = [sys.executable, "-m", "flows.cli", arguments[0], str(PIPELINE), *arguments[1:], "--json"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
            return json.loads(done.stdout)

        gatecast("ingest", "--as-of", ISSUE)
        scores = gatecast("train", "--as-of", ISSUE)["scores"]
        ours, bar = scores["challenger"], scores["baseline"]
    return {"cell": cell, "pinball": ours["pinball"], "mae": ours["mae"], "baseline": bar["pinball"]}


def report(recalled: pl.DataFrame, loaded: list[dict[str, float | str]], cpu: float) -> list[str]:
    """The results as Markdown."""
    lines = [
        "# What the gates buy", "", machine(), "",
        f"Written by `make memory` in {cpu / 60:.0f} minutes of CPU.", "",
        "## Recall", "",
        "Mean squared error of a value of variance 1 that was shown so many steps ago, mean of "
        f"{len(RECALL_SEEDS)} seeds after at most "
        f"{UPDATES} updates of {BATCH} sequences; {HIDDEN} units, Adam at {RATE}. "
        f"1 is no memory at all; below {SOLVED} the value came through.", "",
        "| steps ago | " + " | ".join(f"{cell}, {_way(segment)}" for segment in SEGMENTS for cell in CELLS) + " |",
        "|---:|" + "---:|" * len(SEGMENTS) * len(CELLS),
    ]  # fmt: skip
    for lag in LAGS:
        cells = []
        for segment in SEGMENTS:
            for cell in CELLS:
                found = recalled.filter(cell=cell, segment=segment, lag=lag)["error"]
                cells.append("-" if found.is_empty() else f"{found.mean():.3f}")
        lines.append(f"| {lag} | {' | '.join(cells)} |")
    lines += [
        "", "![Recall](memory.png)", "", "## Load", "",
        f"The sample's three companies, a day ahead, on the held-out nights before {ISSUE}: `hidden_size` 64, two "
        f"years of history, seeds "
        f"{', '.join(map(str, LOAD_SEEDS))}, everything else the default. "
        f"The baseline's pinball is {loaded[0]['baseline']:.2f}.", "",
        "| cell | pinball, each seed | mean | MAE, mean |", "|---|---|---:|---:|",
    ]  # fmt: skip
    for cell in CELLS:
        runs = [run for run in loaded if run["cell"] == cell]
        each = ", ".join(f"{run['pinball']:.2f}" for run in runs)
        means = (statistics.fmean(float(run[name]) for run in runs) for name in ("pinball", "mae"))
        lines.append(f"| {cell} | {each} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    return lines


def draw(recalled: pl.DataFrame) -> alt.HConcatChart:
    """The error by lag: step by step, and in segments."""

    def panel(segment: int) -> alt.Chart:
        return alt.Chart(recalled.filter(segment=segment)).mark_line(point=True).encode(
            x=alt.X("lag:Q", title="steps ago", scale=alt.Scale(type="log", domain=[9, 550]),
                    axis=alt.Axis(values=list(LAGS))),
            y=alt.Y("mean(error):Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.1])),
            color=alt.Color("cell:N", title=None, scale=alt.Scale(domain=list(CELLS), range=["#1d4e89", "#9a6b1f"])),
        ).properties(width=330, height=200, title=_way(segment))  # fmt: skip

    title = alt.Title(
        "A value shown so many steps ago, given back",
        subtitle="0 is perfect memory, 1 is none", anchor="start",
    )  # fmt: skip
    return alt.hconcat(*map(panel, SEGMENTS), title=title).configure_view(stroke=None).configure_axis(gridOpacity=0.4)


def _way(segment: int) -> str:
    return "step by step" if segment == 1 else f"segments of {segment}"


if __name__ == "__main__":
    main(*sys.argv[1:])
