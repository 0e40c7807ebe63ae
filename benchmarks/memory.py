"""LSTM cell against plain recurrent cell, all else equal: `make memory`.

`python -m benchmarks.memory OUT.md OUT.png` runs two tasks. Recall: the network is shown a value, then noise, and must
return the value a number of steps later. Only the recurrent state can carry it. The input is single steps, or segments
of 24 steps as in Gatecast's network. Load: `gatecast train` on the embedded sample with `cell` = lstm and rnn.
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
from typing import Any, NamedTuple

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
#: Mean squared error at which a value of variance 1 counts as recalled.
SOLVED = 0.05
#: Updates over which an error is averaged.
_LAST = 50
_LOAD = {
    "GATECAST_MODEL__HIDDEN_SIZE": "64",
    "GATECAST_TRAINING__WINDOW": "730d",
    # The budget exceeds what a fit needs, so that the data end it and not the clock.
    "GATECAST_TRAINING__BUDGET": "900s",
}


class Recall(NamedTuple):
    """Result of one network: its final error, and the updates until then."""

    cell: str
    segment: int
    lag: int
    seed: int
    error: float
    updates: int


class LoadScores(NamedTuple):
    """Scores of one training on the sample."""

    cell: str
    pinball: float
    mae: float
    baseline: float


def main(table: str, picture: str) -> None:
    """Run both tasks and write the tables and the picture."""
    started = time.process_time()
    with ThreadPoolExecutor(1) as executor:
        trained = executor.map(train_load, *zip(*product(CELLS, LOAD_SEEDS), strict=True))
        recall = pl.DataFrame(list(run_recall()))
        load = list(trained)
    own = time.process_time() - started
    children = os.times()
    cpu = own + children.children_user + children.children_system
    Path(table).write_text("\n".join(report(recall, load, cpu)) + "\n")
    draw(recall).save(picture, scale_factor=2)
    print(f"Wrote {table} and {picture}.")


def run_recall() -> Iterator[Recall]:
    """Yield the result of every cell at every lag."""
    for segment in SEGMENTS:
        for lag in LAGS:
            for cell in CELLS:
                for seed in RECALL_SEEDS:
                    if segment < lag:
                        yield train_recall(cell, segment, lag, seed)


def train_recall(cell: str, segment: int, lag: int, seed: int) -> Recall:
    """Train one network to return the value that it was shown `lag` steps ago."""
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
        # Channel 0 has values, channel 1 marks the value to return.
        shown = torch.randn(BATCH, length, 2)
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


def train_load(cell: str, seed: int) -> LoadScores:
    """Train on the sample and return the scores on the held-out issue times."""
    with tempfile.TemporaryDirectory() as store:
        environment = {
            **os.environ, **_LOAD, "GATECAST_PIPELINE__STORE": store, "GATECAST_MODEL__CELL": cell,
            "GATECAST_TRAINING__SEED": str(seed),
        }  # fmt: skip

        def gatecast(*arguments: str) -> dict[str, Any]:
            command = [sys.executable, "-m", "flows", arguments[0], str(PIPELINE), *arguments[1:], "--json"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
            return dict(json.loads(done.stdout))

        gatecast("ingest", "--as-of", ISSUE)
        scores = gatecast("train", "--as-of", ISSUE)["scores"]
        challenger, baseline = scores["challenger"], scores["baseline"]
    return LoadScores(cell, challenger["pinball"], challenger["mae"], baseline["pinball"])


def report(recall: pl.DataFrame, load: list[LoadScores], cpu: float) -> list[str]:
    """Return the results as lines of Markdown."""
    lines = [
        "# LSTM cell and plain recurrent cell", "", machine(), "",
        f"Written by `make memory` in {cpu / 60:.0f} minutes of CPU.", "",
        "## Recall", "",
        "Mean squared error of a returned value of variance 1, by the steps since it was shown. Each figure is the "
        f"mean of {len(RECALL_SEEDS)} seeds after at most {UPDATES} updates of {BATCH} sequences, with {HIDDEN} units "
        f"and Adam at {RATE}. "
        f"1 is no memory at all; below {SOLVED} the value counts as recalled.", "",
        "| steps ago | " + " | ".join(f"{cell}, {_way(segment)}" for segment in SEGMENTS for cell in CELLS) + " |",
        "|---:|" + "---:|" * len(SEGMENTS) * len(CELLS),
    ]  # fmt: skip
    for lag in LAGS:
        cells = []
        for segment in SEGMENTS:
            for cell in CELLS:
                errors = recall.filter(cell=cell, segment=segment, lag=lag)["error"].to_list()
                cells.append(f"{statistics.fmean(errors):.3f}" if errors else "-")
        lines.append(f"| {lag} | {' | '.join(cells)} |")
    lines += [
        "", "![Recall](memory.png)", "", "## Load", "",
        f"The sample's three companies, a day ahead, on the held-out issue times before {ISSUE}: `hidden_size` 64, two "
        f"years of history, seeds "
        f"{', '.join(map(str, LOAD_SEEDS))}, and otherwise the defaults. "
        f"The baseline's pinball is {load[0].baseline:.2f}.", "",
        "| cell | pinball, each seed | mean | MAE, mean |", "|---|---|---:|---:|",
    ]  # fmt: skip
    for cell in CELLS:
        runs = [run for run in load if run.cell == cell]
        each = ", ".join(f"{run.pinball:.2f}" for run in runs)
        means = (statistics.fmean(run.pinball for run in runs), statistics.fmean(run.mae for run in runs))
        lines.append(f"| {cell} | {each} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    return lines


def draw(recall: pl.DataFrame) -> alt.HConcatChart:
    """Return a chart of the error by lag, for single steps and for segments."""

    def panel(segment: int) -> Any:
        return alt.Chart(recall.filter(segment=segment)).mark_line(point=True).encode(
            x=alt.X("lag:Q", title="steps ago", scale=alt.Scale(type="log", domain=[9, 550]),
                    axis=alt.Axis(values=list(LAGS))),
            y=alt.Y("mean(error):Q", title="mean squared error", scale=alt.Scale(domain=[0, 1.1])),
            color=alt.Color("cell:N", title=None, scale=alt.Scale(domain=list(CELLS), range=["#1d4e89", "#9a6b1f"])),
        ).properties(width=330, height=200, title=_way(segment))  # fmt: skip

    title = alt.Title(
        "Recall of a value by steps since it was shown",
        subtitle="0 is perfect memory, 1 is none", anchor="start",
    )  # fmt: skip
    panels: alt.HConcatChart = alt.hconcat(*map(panel, SEGMENTS), title=title)
    styled: alt.HConcatChart = panels.configure_view(stroke=None).configure_axis(gridOpacity=0.4)
    return styled


def _way(segment: int) -> str:
    return "step by step" if segment == 1 else f"segments of {segment}"


if __name__ == "__main__":
    main(*sys.argv[1:])
