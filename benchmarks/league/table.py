"""The league's table as one page of Markdown, from losses and their cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.league import fev
from benchmarks.league.losses import compute_losses, step_blocks
from benchmarks.league.panel import Panel, issue_days, load_panel
from benchmarks.league.results import GATECAST, Result, code_hash
from benchmarks.league.score import Score, compare, score
from benchmarks.league.tasks import Task

#: MAE of daily recalibrated ensembles on the same 728 days (Lago et al. 2021): DNN, LEAR.
PUBLISHED = {"price-np": (1.683, 1.738), "price-be": (5.870, 6.140), "price-fr": (3.866, 3.980)}
_PUBLISHED_ISSUES = 728
_TRAINED_ONCE = "nf-lstm"
_BASELINE = "seasonal-naive"

#: Results by task, then by forecaster.
Results = dict[str, dict[str, Result]]


@dataclass(frozen=True)
class Entry:
    """One forecaster on one task.

    Attributes:
        score: Its scores.
        result: Its losses and cost.
        fev: Scaled quantile loss and MASE by fev-bench's protocol, for prices only.
    """

    score: Score
    result: Result
    fev: tuple[float, float] | None


Entries = dict[str, Entry]


def render(tasks: list[Task], results: Results, last: int | None, machine: str) -> str:
    """Return the page.

    Args:
        tasks: Tasks in the order of the page.
        results: Results by task, then by forecaster.
        last: Number of issue times at the end of the test period that were forecast, or None for all.
        machine: Processor and versions.
    """
    parts = ["# The league\n", f"`make league{' QUICK=1' if last else ''}`. {machine}\n", _HEAD]
    entries: dict[str, Entries] = {}
    details = []
    for task in tasks:
        panel = load_panel(task, last)
        entries[task.name] = _entries(panel, results[task.name], with_fev=task.group == "price" and last is None)
        details.append(_task(panel, entries[task.name], last))
    parts += [_overview(tasks, entries), *details]
    if last is None:
        parts += [_fev(tasks, entries), _cost(tasks, entries)]
    return "\n".join(part for part in parts if part)


_HEAD = """Pinball is the mean over nine levels without the factor 2. Pinball and the absolute error (MASE) of each
series are divided by the MAE of its seasonal naive before the test period, so that series of any unit have the same
weight. The figure of a task is the mean over its series. The entries are described in
[docs/league.md](../../docs/league.md).
"""


def _entries(panel: Panel, results: Mapping[str, Result], with_fev: bool) -> Entries:
    """Return the entries of a task, best first. Entries with missing rows come last."""
    entries = {
        name: Entry(score(panel, result.losses), result, fev.scores(panel, result.losses) if with_fev else None)
        for name, result in results.items()
    }
    return dict(sorted(entries.items(), key=lambda item: (item[1].score.missing > 0, item[1].score.pinball)))


def _best_peer(entries: Entries) -> str | None:
    return next((name for name, entry in entries.items() if name != GATECAST and not entry.score.missing), None)


def _overview(tasks: list[Task], entries: Mapping[str, Entries]) -> str:
    """Return pinball by task and forecaster, with the mean ratio to the baseline of those that did all tasks."""
    tasks = [task for task in tasks if entries[task.name]]
    ratios = {}
    for name in dict.fromkeys(name for task in tasks for name in entries[task.name]):
        pairs = [(entries[task.name].get(name), entries[task.name].get(_BASELINE)) for task in tasks]
        own = [one.score.pinball / of.score.pinball for one, of in pairs if one and of and not one.score.missing]
        ratios[name] = float(np.exp(np.mean(np.log(own)))) if len(own) == len(tasks) else math.nan
    names = sorted(ratios, key=lambda name: (math.isnan(ratios[name]), ratios[name]))
    lines = [f"| pinball | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for task in tasks:
        own_entries = [entries[task.name].get(name) for name in names]
        cells = [_figure(entry.score.pinball) if entry else "" for entry in own_entries]
        lines.append(f"| {task.name} | {' | '.join(cells)} |")
    lines.append(f"| ratio to {_BASELINE} | {' | '.join(_figure(ratios[name]) for name in names)} |")
    note = (
        "A blank cell: the forecaster does not take part in the task, or has not been run. The last row is the "
        f"geometric mean over all tasks of the ratio to the pinball of {_BASELINE}."
    )
    return "\n".join([*lines, "", note, ""])


def _task(panel: Panel, entries: Entries, last: int | None) -> str:
    if not entries:
        return ""
    task = panel.task
    leads = [
        f"{block[0] + 1}" if len(block) == 1 else f"{block[0] + 1}-{block[-1] + 1}"
        for block in step_blocks(panel.horizon)
    ]
    has_one_unit = len(panel.series) == 1
    period = f"{issue_days(task, len(panel.issues))[0]} to {task.end}, {len(panel.issues)} issue times"
    lines = [
        f"## {task.name}\n",
        f"{len(panel.series)} series, {panel.horizon} steps of {panel.grid.frequency}, {period}.\n",
        f"| | pinball | MASE |{' MAE |' if has_one_unit else ''} 80% covers | {' | '.join(leads)} | CPU s |",
        f"|---|---:|---:|{'---:|' if has_one_unit else ''}---:|{'---:|' * len(leads)}---:|",
    ]
    for name, entry in entries.items():
        own = entry.score
        note = f" ({own.missing:,} of {own.rows:,} rows missing)" if own.missing else ""
        by_lead = " | ".join(_figure(float(value)) for value in own.by_block)
        mae = f" {own.mae:.4g} |" if has_one_unit else ""
        lines.append(
            f"| {name}{note} | {_figure(own.pinball)} | {_figure(own.mase)} |{mae} {own.coverage_80:.1%} | {by_lead} | "
            f"{entry.result.cpu:,.0f} |"
        )
    if task.name in PUBLISHED and len(panel.issues) == _PUBLISHED_ISSUES:
        dnn, lear = PUBLISHED[task.name]
        lines.append(f"\nPublished MAE on the same days: DNN ensemble {dnn:.3f}, LEAR ensemble {lear:.3f}.")
    if GATECAST in entries:
        lines.append(_provenance(entries[GATECAST].result, last))
        lines += _comparison(panel, entries)
    return "\n".join([*lines, ""])


def _provenance(result: Result, last: int | None) -> str:
    """Return Gatecast's shares of rows by status, and whether its code has changed since the forecasts were made."""
    total = sum(result.statuses.values())
    shares = ", ".join(f"{count / total:.1%} {status}" for status, count in sorted(result.statuses.items()))
    changed = "" if last or result.code == (code_hash(),) else " Its code has changed since these forecasts were made."
    return f"\nGatecast's rows by status: {shares}.{changed}"


def _comparison(panel: Panel, entries: Entries) -> list[str]:
    """Return the test of Gatecast against the best other forecaster, if both are complete."""
    rival, ours = _best_peer(entries), entries[GATECAST].score
    if rival is None or ours.missing:
        return []
    theirs = entries[rival].score
    test = compare(panel, ours, theirs)
    two_sided = min(1.0, 2 * min(test.better, test.worse))
    return [
        f"\nGatecast against {rival}, the best other: pinball {ours.pinball / theirs.pinball - 1:+.1%}, "
        f"Diebold-Mariano statistic {test.statistic:+.2f}, p = {two_sided:.2g} "
        f"(two-sided, {test.issue_count} issue times, {test.overlap - 1} lags)."
    ]


def _fev(tasks: list[Task], entries: Mapping[str, Entries]) -> str:
    """Return the price markets by fev-bench's protocol."""
    prices = [task for task in tasks if task.group == "price"]
    if not prices:
        return ""
    lines = [
        "## Prices by fev-bench's protocol\n",
        "Scores of the last 20 days of the same forecasts: scaled quantile loss (SQL: 2 x pinball / in-sample seasonal "
        "naive MAE at season 24), and MASE.\n",
        f"| | {' | '.join(f'{task.name} SQL | MASE' for task in prices)} |",
        f"|---|{'---:|' * 2 * len(prices)}",
        f"| Chronos-2, published | {' | '.join(f'{fev.CHRONOS_2[task.name]:.3f} |' for task in prices)} |",
    ]
    for name in dict.fromkeys(name for task in prices for name in entries[task.name]):
        own = [entries[task.name].get(name) for task in prices]
        cells = [f"{entry.fev[0]:.3f} | {entry.fev[1]:.3f}" if entry and entry.fev else " | " for entry in own]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    naive = []
    for task in prices:
        panel = load_panel(task, fev.WINDOWS)
        mase = fev.scores(panel, compute_losses(panel, fev.seasonal_naive(panel)))[1]
        naive.append(f"{mase:.3f} ({fev.SEASONAL_NAIVE[task.name]:.3f})")
    lines.append(f"\nCheck: MASE of the seasonal naive with season 24 (published): {', '.join(naive)}.")
    return "\n".join([*lines, ""])


def _cost(tasks: list[Task], entries: Mapping[str, Entries]) -> str:
    """Return the CPU of Gatecast with its retrainings beside that of the LSTM trained once."""
    rows = [
        (task.name, entries[task.name][GATECAST].result.cpu, entries[task.name][_TRAINED_ONCE].result.cpu)
        for task in tasks
        if {GATECAST, _TRAINED_ONCE} <= set(entries[task.name])
    ]
    if not rows:
        return ""
    rows.append(("all of these", sum(ours for _, ours, _ in rows), sum(theirs for *_, theirs in rows)))
    lines = [
        "## CPU, training and forecasts\n",
        f"| CPU-seconds | gatecast, retrained weekly | {_TRAINED_ONCE}, trained once | ratio |\n|---|---:|---:|---:|",
        *(f"| {name} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} |" for name, ours, theirs in rows),
    ]
    return "\n".join([*lines, ""])


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
