"""Tables and a plot of simulated operations, from their journals and proofs."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl

from benchmarks.first_light import machine
from benchmarks.operation_journal import Entry, read

#: Figures of the plot: column and title.
FIGURES = {
    "cpu": "CPU-seconds per run",
    "memory": "memory of the process, MB",
    "files": "files in the store",
    "megabytes": "size of the store, MB",
    "parts": "history parts",
}
_INTRODUCTION = [
    "Written by `make operation`. Every third run has a fault, made for real. Damaged history parts, scores,",
    "quarantine and records stay damaged until the product repairs them; the other faults end with their run.",
    "A training is due every 28 days. A series begins at run 20, and one has no more values from",
    "the middle on. Both are reasons for rows that are not `model`. Every 60th run, and those whose process is",
    "killed, are `gatecast nightly` in a process of its own. The others run the code of the flow in the process of",
    "the simulation, without Prefect.",
    "",
    "The proof reads only Parquet files, with DuckDB and NumPy (`benchmarks/operation_proof.py`). A forecast may be",
    "called complete (`model`) only if the history had every value of the context as the source had it before any",
    "fault, up to the newest period, and the covariate for the whole horizon. Every score must be equal to the one",
    "computed there.",
]
_COLD = 30  # runs at the begin that are left out where growth is judged: caches fill, and scores begin


def write(table: Path, picture: Path, folders: list[Path], deadline: int) -> None:
    """Write the tables of all operations and the plot."""
    entries = {_title(folder): read(folder / "journal.jsonl") for folder in folders}
    lines = ["# A year of nightly runs with faults", "", machine(), "", *_INTRODUCTION, ""]
    for folder, (title, runs) in zip(folders, entries.items(), strict=True):
        proof = json.loads((folder / "proof.json").read_text())
        lines += [f"## {title}", "", *_summary(runs, proof, deadline), "", *_growth(runs), "", *_faults(runs), ""]
    lines += [f"![Time, memory and store by run]({picture.name})"]
    table.write_text("\n".join(lines) + "\n")
    draw(entries).save(picture, scale_factor=2)


def _title(folder: Path) -> str:
    store = json.loads((folder / "proof.json").read_text())["store"]
    return f"{folder.name}, {'S3' if store == 's3' else 'folder'}"


def _summary(runs: list[Entry], proof: dict[str, Any], deadline: int) -> list[str]:
    rows = ", ".join(f"{count:,} `{status}`" for status, count in proof["rows"].items())
    files = sum(run.published is not None for run in runs)
    in_time = sum(run.published is not None and run.published < deadline for run in runs)
    slowest = max(run.published or 0.0 for run in runs)
    return [
        "| figure | value |", "|---|---|",
        f"| runs, of them commands of their own | {len(runs)}, {sum(not run.in_process for run in runs)} |",
        f"| runs with a fault | {sum(bool(run.fault) for run in runs)} |",
        f"| files, of them before the deadline of {deadline} s | {files}, {in_time} |",
        f"| slowest file | {slowest:.1f} s |",
        f"| rows | {rows} |",
        f"| rows that are not `model` and have no reason | {sum(run.without_reason for run in runs)} |",
        f"| runs of which a series is called complete although an input was missing | "
        f"{sum(bool(run.called_complete) for run in runs)} |",
        f"| runs after which `latest/` was not the newest forecast | {_not_latest(runs)} |",
        f"| exit statuses | {_counts(str(run.exit_status) for run in runs)} |",
        f"| scores equal to the recomputation | {proof['scores']:,} of {proof['scores']:,} |",
        f"| processes that outlived a killed command | {sum(run.orphans for run in runs)} |",
    ]  # fmt: skip


def _not_latest(runs: list[Entry]) -> str:
    return _counts(run.fault or "none" for run in runs if not run.is_latest) or "0"


def _counts(values: Any) -> str:
    return ", ".join(f"{value}: {count}" for value, count in sorted(Counter(values).items()))


def _growth(runs: list[Entry]) -> list[str]:
    """Return a table of the figures of the first and the last third of the runs in this process."""
    quiet = [run for run in runs[_COLD:] if run.in_process and not run.fault]
    third = len(quiet) // 3
    if third < 2:
        return ["Too few runs to judge growth."]
    lines = ["| figure, median | first third | last third |", "|---|---:|---:|"]
    for column, title in {
        "cpu": "CPU-seconds per run",
        "seconds": "seconds per run",
        "memory": "memory, MB",
        "parts": "history parts",
    }.items():
        first, last = (
            statistics.median(getattr(run, column) for run in part) for part in (quiet[:third], quiet[-third:])
        )
        lines.append(f"| {title} | {first:.2f} | {last:.2f} |")
    for column, title in {"files": "files more per run", "megabytes": "MB more per run"}.items():
        first, last = (_slope(part, column) for part in (quiet[:third], quiet[-third:]))
        lines.append(f"| {title} | {first:.3f} | {last:.3f} |")
    return lines


def _slope(runs: list[Entry], column: str) -> float:
    first, last = runs[0], runs[-1]
    increase: float = getattr(last, column) - getattr(first, column)
    return increase / (last.number - first.number)


def _faults(runs: list[Entry]) -> list[str]:
    """Return a table of what the runs with each fault published."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for run in runs:
        groups[run.fault or "none"].append(run)
    lines = ["| fault | runs | exit | rows | most frequent reason |", "|---|---:|---|---|---|"]
    for fault, group in groups.items():
        rows = sum((Counter(run.rows) for run in group), Counter[str]())
        reasons = sum((Counter(run.reasons) for run in group), Counter[str]())
        reason = reasons.most_common(1)[0][0].replace("|", "/")[:110] if reasons else ""
        lines.append(
            f"| {fault} | {len(group)} | {_counts(run.exit_status for run in group)} | "
            f"{', '.join(f'{count} {status}' for status, count in rows.items())} | {reason} |"
        )
    return lines


def draw(entries: dict[str, list[Entry]]) -> alt.VConcatChart:
    """Return a chart of the figures by run, one line for each operation."""
    rows = pl.DataFrame(
        [
            {"run": run.number, "operation": title, **{column: float(getattr(run, column)) for column in FIGURES}}
            for title, runs in entries.items()
            for run in runs
            if run.in_process and not run.fault
        ]
    )

    def panel(column: str, title: str) -> Any:
        median = rows.with_columns(pl.col(column).rolling_median(7, min_samples=1).over("operation"))
        return alt.Chart(median).mark_line().encode(
            x=alt.X("run:Q", title=None),
            y=alt.Y(f"{column}:Q", title=None, scale=alt.Scale(zero=True)),
            color=alt.Color("operation:N", title=None),
        ).properties(width=420, height=120, title=title)  # fmt: skip

    panels: alt.VConcatChart = alt.vconcat(*(panel(column, title) for column, title in FIGURES.items()))
    styled: alt.VConcatChart = panels.configure_view(stroke=None).configure_axis(gridOpacity=0.4)
    return styled
