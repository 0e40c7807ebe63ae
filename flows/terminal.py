"""How the command speaks: progress on a terminal, tables as aligned text, JSON, errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
import polars as pl

from flows import summary
from flows.settings.pipeline import Pipeline
from flows.stages.progress import Progress, no_progress
from storage import forecasts
from storage.schemas.records import BacktestReport, ForecastReport, Manifest
from storage.store import open_store

_ROWS = 96  # of probabilities printed
_SHOWN = 4  # series


@contextmanager
def progress_bar(as_json: bool, quiet: bool) -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere."""
    if as_json or quiet or not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("", total=1.0)
        yield lambda what, done: bar.update(line, description=what, completed=done)


def training_lines(manifest: Manifest) -> list[str]:
    """What was trained, and how it compares."""
    return [
        f"trained {manifest['version']} in {manifest['seconds']:.0f} s; {manifest['decision']['reason']}",
        f"{summary.held_out_sentence(manifest)}:",
        *table_lines(summary.score_rows(manifest)),
    ]


def backtest_lines(report: BacktestReport) -> list[str]:
    """What a backtest found, beside the baseline."""
    counts = ", ".join(f"{n} rows {status}" for status, n in report["status"].items())
    promoted = sum(model["decision"]["promoted"] for model in report["models"])
    scores = report["scores"]
    lines = [
        f"backtest {report['pipeline']}: {report['issues']} issues, {report['start']} to {report['end']}; {counts}",
        f"{len(report['models'])} models trained, {promoted} promoted; {scores['n']} rows came true",
    ]
    if scores["n"]:
        shown = {name: "-" if value is None else f"{value:.4g}" for name, value in scores.items()}
        ours = {name: shown[name] for name in ("pinball", "mae", "mase", "coverage_80")}
        bar = {"pinball": shown["baseline_pinball"], "mae": shown["baseline_mae"], "mase": "", "coverage_80": ""}
        lines += table_lines([{"": "gatecast", **ours}, {"": "baseline", **bar}])
        lines += [f"skill against the baseline: {scores['skill']:+.1%}"] if scores["skill"] is not None else []
    return [*lines, *(report[name] for name in ("forecasts", "scored") if name in report)]


def inspection_lines(written: dict[str, Any]) -> list[str]:
    """Which model made a forecast, and which covariates moved it."""
    unit = written["unit"] or "in the target's unit"
    rows = [
        {"hidden": name, f"moves the median by ({unit})": f"{moved:.4g}"} for name, moved in written["moved"].items()
    ]
    return [
        f"{written['series_id']} at {written['issue_time']} by model {written['model_version']}",
        *table_lines(rows),
        f"wrote {written['path']}",
    ]


def probability_rows(found: pl.DataFrame) -> list[dict[str, Any]]:
    """The probabilities, JSON-ready: one object a row."""
    return found.with_columns(pl.col("valid_time").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()


def probability_lines(pipeline: Pipeline, found: pl.DataFrame) -> list[str]:
    """The probabilities in local time, as many rows as a screen or two hold."""
    columns = [name for name in found.columns if name.startswith("p_above_")]
    rows = found.head(_ROWS).select(
        "series_id", _local(pipeline), "step", *(pl.col(name).round(4) for name in columns), "status"
    )
    more = len(found) - len(rows)
    return [*table_lines(rows.to_dicts()), *([f"  and {more} rows more, which --json has"] if more else [])]


def preview_lines(pipeline: Pipeline, published: ForecastReport) -> list[str]:
    """The first rows of each of a few series in local time, three quantiles wide."""
    at = pipeline.pipeline
    issue_time = datetime.fromisoformat(published["issue_time"])
    rows = forecasts.read_head(open_store(at.store), pipeline.name, at.timezone, issue_time, _SHOWN * at.horizon)
    levels = [c for c in rows.columns if c.startswith("q")]
    shown = list(dict.fromkeys([levels[0], "q50", levels[-1]]))
    head = rows.group_by("series_id", maintain_order=True).head(3)
    return table_lines(
        head.select(
            "series_id", _local(pipeline), "step",
            *(pl.col(c).round(2) for c in shown), "status",
        ).to_dicts()
    )  # fmt: skip


def _local(pipeline: Pipeline) -> pl.Expr:
    at = pipeline.pipeline
    shape = "%Y-%m-%d" if at.frequency in ("1d", "1b") else "%Y-%m-%d %H:%M %Z"
    return pl.col("valid_time").dt.convert_time_zone(at.timezone).dt.strftime(shape)


def table_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Rows as aligned text, numbers to the right."""
    if not rows:
        return []
    cells = [[printable(str(v)).replace("\n", "\\n") for v in row.values()] for row in rows]
    names = list(rows[0])
    width = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
    number = [any(isinstance(row[name], int | float) for row in rows) for name in names]

    def line(values: list[str]) -> str:
        return "  ".join(
            v.rjust(w) if n else v.ljust(w) for v, w, n in zip(values, width, number, strict=True)
        ).rstrip()

    return [f"  {line(names)}", *(f"  {line(values)}" for values in cells)]


def print_result(result: Mapping[str, Any], as_json: bool, quiet: bool, lines: list[str]) -> None:
    """Say the result of a command: JSON, nothing, or lines for people."""
    if as_json:
        click.echo(json.dumps(result, default=str))
    elif not quiet:
        click.echo(printable("\n".join(lines)))


def print_error(message: str) -> None:
    """An error or a warning."""
    click.echo(printable(message), err=True)


def printable(text: str) -> str:
    """`text` in which nothing commands a terminal: names and cells are what a source made them."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
