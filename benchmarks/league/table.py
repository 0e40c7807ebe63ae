"""The league as one page of Markdown, from forecasts and what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.league import fev, forecasts, panel
from benchmarks.league.runs import GATECAST, code, made_by
from benchmarks.league.score import Score, compare, score
from benchmarks.league.tasks import Task

#: Lago et al. 2021, MAE of daily recalibrated ensembles on the same 728 days.
PUBLISHED = {"price-np": (1.683, 1.738), "price-be": (5.870, 6.140), "price-fr": (3.866, 3.980)}
_TUNED = "nf-lstm"
_BAR = "seasonal-naive"


Found = Mapping[str, Mapping[str, tuple[Path, float]]]


@dataclass(frozen=True)
class Entry:
    """One forecaster on one task: its quantiles' score, CPU-seconds, fev-bench's figures for a price, and of Gatecast
    the shares of rows by status.
    """

    score: Score
    cpu: float
    fev: tuple[float, float] | None
    made_by: dict[str, float]


def render(tasks: list[Task], found: Found, last: int | None, machine: str) -> str:
    """The page.

    Args:
        found: for each task, of each forecaster that has forecast it, the file and the CPU-seconds.
        last: only so many of the last issue times were forecast.
    """
    parts = ["# The league\n", f"`make league{' QUICK=1' if last else ''}`. {machine}\n", _HEAD]
    every = {}
    details = []
    for task in tasks:
        given = panel.load(task, last)
        entries = _entries(given, found[task.name], with_fev=task.group == "price" and last is None)
        every[task.name] = entries
        details.append(_task(given, entries, last))
    parts += [_overview(tasks, every), *details]
    if last is None:
        parts += [_fev(tasks, every), _cost(tasks, every)]
    return "\n".join(part for part in parts if part)


_HEAD = """Pinball is the mean over nine levels without the factor 2. It and the absolute error (MASE) are divided,
series by series, by the series' seasonal naive MAE before the test period, so that series of any unit count alike; the
figure of a task is the mean over its series. How the entries are set up: [docs/league.md](../../docs/league.md).
"""


def _entries(given: panel.Panel, found: Mapping[str, tuple[Path, float]], with_fev: bool) -> dict[str, Entry]:
    """Those that have forecasts, best first; one with missing rows last."""
    entries = {}
    for who, (path, cpu) in found.items():
        rows = pl.read_parquet(path)
        quantiles = forecasts.cube(given, rows)
        by = dict(rows["status"].value_counts(normalize=True).sort("status").iter_rows()) if who == GATECAST else {}
        entries[who] = Entry(score(given, quantiles), cpu, fev.scores(given, quantiles) if with_fev else None, by)
    return dict(sorted(entries.items(), key=lambda item: (item[1].score.missing > 0, item[1].score.pinball)))


def _best_peer(entries: Mapping[str, Entry]) -> str | None:
    return next((who for who, entry in entries.items() if who != GATECAST and not entry.score.missing), None)


def _overview(tasks: list[Task], every: Mapping[str, Mapping[str, Entry]]) -> str:
    """Pinball by task, forecasters as rows; and where one took part in all tasks, its ratio to the seasonal naive."""
    rows = []
    for who in dict.fromkeys(name for entries in every.values() for name in entries):
        of = [every[task.name].get(who) for task in tasks]
        bars = [every[task.name].get(_BAR) for task in tasks]
        ratios = [
            one.score.pinball / bar.score.pinball
            for one, bar in zip(of, bars, strict=True)
            if one and bar and not one.score.missing
        ]
        mean = float(np.exp(np.mean(np.log(ratios)))) if len(ratios) == len(tasks) else math.nan
        figures = [_figure(one.score.pinball) if one else "" for one in of]
        rows.append((mean, f"| {who} | {' | '.join(figures)} | {_figure(mean)} |"))
    rows.sort(key=lambda row: (math.isnan(row[0]), row[0]))
    names = " | ".join(task.name for task in tasks)
    head = f"| pinball | {names} | of {_BAR}'s |\n|---|{'---:|' * (len(tasks) + 1)}"
    note = (
        "A blank: takes no part, or has not been run yet. The last column is the geometric mean over all tasks of the "
        f"ratio to the {_BAR}'s pinball."
    )
    return "\n".join([head, *(row for _, row in rows), "", note, ""])


def _task(given: panel.Panel, entries: Mapping[str, Entry], last: int | None) -> str:
    task, steps = given.task, np.arange(given.horizon)
    if not entries:
        return ""
    parts = np.array_split(steps, given.horizon if given.horizon <= 7 else 4)
    leads = [f"{part[0] + 1}" if len(part) == 1 else f"{part[0] + 1}-{part[-1] + 1}" for part in parts]
    one_unit = len(given.series) == 1
    when = f"{panel.issue_days(task, len(given.issues))[0]} to {task.end}, {len(given.issues)} issue times"
    lines = [
        f"## {task.name}\n",
        f"{len(given.series)} series, {given.horizon} steps of {given.grid.frequency}, {when}.\n",
        f"| | pinball | MASE |{' MAE |' if one_unit else ''} 80% covers | {' | '.join(leads)} | CPU s |",
        f"|---|---:|---:|{'---:|' if one_unit else ''}---:|{'---:|' * len(leads)}---:|",
    ]
    for who, entry in entries.items():
        at = entry.score
        said = f" ({at.missing:,} of {at.rows:,} rows missing)" if at.missing else ""
        by_lead = " | ".join(_figure(float(np.nanmean(at.by_step[part]))) for part in parts)
        mae = f" {at.mae:.4g} |" if one_unit else ""
        lines.append(
            f"| {who}{said} | {_figure(at.pinball)} | {_figure(at.mase)} |{mae} {at.coverage_80:.1%} | {by_lead} | "
            f"{entry.cpu:,.0f} |"
        )
    if task.name in PUBLISHED and len(given.issues) == 728:
        dnn, lear = PUBLISHED[task.name]
        lines.append(f"\nPublished MAE on the same days: DNN ensemble {dnn:.3f}, LEAR ensemble {lear:.3f}.")
    if GATECAST in entries:
        shares = ", ".join(f"{share:.1%} {status}" for status, share in entries[GATECAST].made_by.items())
        since = "" if last or made_by(task) == [code()] else " Its code has changed since they were made."
        lines.append(f"\nGatecast's rows by status: {shares}.{since}")
    rival = _best_peer(entries)
    if GATECAST in entries and rival and not entries[GATECAST].score.missing:
        test = compare(given, entries[GATECAST].score, entries[rival].score)
        change = entries[GATECAST].score.pinball / entries[rival].score.pinball - 1
        two_sided = min(1.0, 2 * min(test.better, test.worse))
        lines.append(
            f"\nGatecast against {rival}, the best other: pinball {change:+.1%}, Diebold-Mariano statistic "
            f"{test.statistic:+.2f}, p = {two_sided:.2g} (two-sided, {test.nights} nights, {test.overlap - 1} lags)."
        )
    return "\n".join([*lines, ""])


def _fev(tasks: list[Task], every: Mapping[str, Mapping[str, Entry]]) -> str:
    """The price markets by fev-bench's protocol."""
    prices = [task for task in tasks if task.group == "price"]
    if not prices:
        return ""
    lines = [
        "## Prices by fev-bench's protocol\n",
        "The last 20 days of the same forecasts: scaled quantile loss (2 x pinball / in-sample seasonal naive MAE at "
        "season 24), and MASE.\n",
        f"| | {' | '.join(f'{task.name} SQL | MASE' for task in prices)} |",
        f"|---|{'---:|' * 2 * len(prices)}",
        f"| Chronos-2, published | {' | '.join(f'{fev.CHRONOS_2[task.name]:.3f} |' for task in prices)} |",
    ]
    for who in dict.fromkeys(who for task in prices for who in every[task.name]):
        of = [every[task.name].get(who) for task in prices]
        cells = [f"{entry.fev[0]:.3f} | {entry.fev[1]:.3f}" if entry and entry.fev else " | " for entry in of]
        lines.append(f"| {who} | {' | '.join(cells)} |")
    naive = []
    for task in prices:
        given = panel.load(task, fev.WINDOWS)
        naive.append(f"{fev.scores(given, fev.seasonal_naive(given))[1]:.3f} ({fev.SEASONAL_NAIVE[task.name]:.3f})")
    lines.append(f"\nCheck: MASE of the seasonal naive with season 24 (published): {', '.join(naive)}.")
    return "\n".join([*lines, ""])


def _cost(tasks: list[Task], every: Mapping[str, Mapping[str, Entry]]) -> str:
    """CPU of Gatecast with its retrainings beside the LSTM trained once."""
    rows = [
        (task.name, every[task.name][GATECAST].cpu, every[task.name][_TUNED].cpu)
        for task in tasks
        if {GATECAST, _TUNED} <= set(every[task.name])
    ]
    if not rows:
        return ""
    lines = [
        "## CPU, training and forecasts\n",
        f"| CPU-seconds | gatecast, retrained weekly | {_TUNED}, trained once | ratio |\n|---|---:|---:|---:|",
        *(f"| {name} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} |" for name, ours, theirs in rows),
    ]
    ours, theirs = (sum(row[at] for row in rows) for at in (1, 2))
    return "\n".join([*lines, f"| all of these | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} |", ""])


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
