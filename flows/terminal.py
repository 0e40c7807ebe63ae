"""Output of the command line: progress, tables as aligned text, JSON, errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click
import polars as pl

from flows import clock, summary
from flows.coloured_text import Coloured, Line, escape, is_live, outcome, render
from flows.settings.pipeline import Pipeline
from flows.stage_process.listener import listening
from flows.stages.progress import Progress, no_progress
from flows.standard_streams import give_up_output
from storage import forecasts
from storage.errors import encodable
from storage.redaction import redact_registered, redact_values
from storage.schemas.counts import counted
from storage.schemas.records import BacktestReport, CheckReport, ForecastReport, InspectionReport, Manifest
from storage.schemas.steps import step_name
from storage.store import Store

_MAX_PROBABILITY_ROWS = 96
_PREVIEW_SERIES, _PREVIEW_STEPS = 4, 3

_ENDED = timedelta(days=28)  # age of the newest target value from which a check names the issue time `newest`


@dataclass(frozen=True)
class Output:
    """Form of a command's output: text, one JSON object, or only errors and warnings."""

    as_json: bool
    quiet: bool

    @property
    def is_text(self) -> bool:
        """True if people read the output."""
        return not (self.as_json or self.quiet)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Show the progress of one stage on a terminal, and nothing elsewhere."""
        if not self.is_text or not is_live(sys.stderr):
            yield no_progress
            return
        from flows.progress_display import StageBar

        bar, stage = StageBar(keeps_stages=False), str(click.get_current_context().info_name)
        with bar.shown():
            bar.start(stage)
            yield lambda activity, share: bar.advance(stage, activity, share)

    @contextmanager
    def stages(self) -> Iterator[None]:
        """Show the stages of a flow run: one display on a terminal, one line per stage elsewhere."""
        if not self.is_text:
            yield
            return
        from flows.progress_display import StageBar, StageLines

        if not is_live(sys.stderr):
            with listening(StageLines(lambda line: _echo(render([line], sys.stderr), is_error=True))):
                yield
            return
        bar = StageBar(keeps_stages=True)
        with bar.shown(), listening(bar):
            bar.start("start")
            bar.advance("start", "starting Prefect", 0.0)
            yield

    def print_result(self, result: Mapping[str, object], lines: Sequence[Line]) -> None:
        """Print the result of a command as JSON, or the lines for people, or nothing."""
        if self.as_json:
            _echo(json.dumps(redact_values(json.loads(json.dumps(result, default=str)))))
        elif not self.quiet:
            _echo(render(lines, sys.stdout))


def print_error(message: str) -> None:
    """Print an error or a warning on standard error."""
    line = Coloured(message, "bad" if message.startswith("error") else "attention")
    _echo(render([line], sys.stderr), is_error=True)


def _echo(text: str, is_error: bool = False) -> None:
    """Write a text without the secrets in use. Everything that a command prints passes here."""
    try:
        click.echo(encodable(redact_registered(text)), err=is_error)
    except OSError as error:
        # The result is in the store, whatever becomes of its report: a full disk, or a reader that has gone.
        if not is_error:
            give_up_output()
            if not isinstance(error, BrokenPipeError):
                print_error(f"warning: the output cannot be written: {error}")


def print_failures(failures: Mapping[str, str], run: str = "run") -> None:
    """Print the failures of a run or backfill that went on, as warnings, by stage or step."""
    for step, error in failures.items():
        print_error(f"warning: {step_name(step)} failed, and the {run} continued without it: {error}")


def check_lines(pipeline_path: object, settings: Pipeline, report: CheckReport) -> list[str]:
    """Return the result of a check: row counts, refused rows, findings and lateness of every feed."""
    feeds = counted(len(settings.feed), "feed")
    next_issue = _local(settings, report["next_issue"])
    lines = [f"{pipeline_path}: pipeline {settings.name!r}, {feeds}, next issue time {next_issue}"]
    for name, feed in report["feeds"].items():
        lines.append(
            f"{name}: {counted(feed['read'], 'row')}, {feed['accepted']:,} accepted, "
            + (f"{feed['later']:,} not known yet, " if feed["later"] else "")
            + _series_text(feed["series"], feed["accepted"])
            + (f", {_local(settings, feed['first'])} to {_local(settings, feed['last'])}" if feed["first"] else "")
        )
        lines += [f"  {line}" for line in summary.finding_lines({name: feed}, settings.pipeline.timezone)]
        lines += [f"  {name}: {line}" for line in summary.matching_lines(feed)]
        lateness = feed.get("late")
        if lateness:
            (role,) = (feed.role for feed in settings.feed if feed.name == name)
            lines.append(f"  {name}: late: {lateness}. {summary.late_hint(role)}")
    return lines + _ended_lines(pipeline_path, settings, report)


def _local(settings: Pipeline, instant: str | None) -> str:
    return settings.local_text(datetime.fromisoformat(instant)) if instant else ""


def _series_text(series: int, accepted: int) -> str:
    """Return the number of series of a feed. The rows of a feed without ids belong to all series."""
    if series:
        return f"{series:,} series"
    return "shared by all series" if accepted else "no series"


def _ended_lines(pipeline_path: object, settings: Pipeline, report: CheckReport) -> list[str]:
    """Return the command for data that ended long ago, whose default issue time has no inputs."""
    names = {feed.name for feed in settings.feeds("target")}
    ends = [feed["last"] for name, feed in report["feeds"].items() if name in names and feed["last"]]
    if not ends or datetime.fromisoformat(report["next_issue"]) - datetime.fromisoformat(max(ends)) < _ENDED:
        return []
    return [
        f"The target ends on {_local(settings, max(ends))[:10]}. To forecast from there: "
        f"gatecast nightly {pipeline_path} --issue-time newest"
    ]


def training_lines(manifest: Manifest) -> list[Line]:
    """Return the decision on a new model, and its scores beside the others."""
    updates = manifest.get("updates")
    effort = f"{manifest['seconds']:.0f} s" + (f", {counted(updates, 'update')}" if updates is not None else "")
    sentence = f"Trained {manifest['version']} in {effort}: {manifest['decision']['reason']}"
    return [
        outcome(sentence, is_degraded=not manifest["decision"]["promoted"]),
        *summary.budget_lines(manifest),
        f"{summary.held_out_sentence(manifest)}:",
        *table_lines(summary.score_rows(manifest)),
    ]


def backtest_lines(report: BacktestReport) -> list[str]:
    """Return the scores of a backtest beside the baseline's."""
    rows = ", ".join(counted(count, f"{status} row") for status, count in report["status"].items())
    promoted = sum(model["decision"]["promoted"] for model in report["models"])
    scores = report["scores"]
    lines = [
        f"Backtest of {report['pipeline']}: {counted(report['issues'], 'issue time')}, {report['start']} to "
        f"{report['end']}, {rows}",
        f"{counted(len(report['models']), 'model')} trained, {promoted} promoted; "
        f"{counted(int(scores['n'] or 0), 'row')} with actuals",
    ]
    if scores["n"]:
        texts = {name: "-" if value is None else summary.number_text(value) for name, value in scores.items()}
        ours = {name: texts[name] for name in ("pinball", "mae", "mase", "coverage_80")}
        baseline = {"pinball": texts["baseline_pinball"], "mae": texts["baseline_mae"], "mase": "", "coverage_80": ""}
        lines += table_lines([{"": "gatecast", **ours}, {"": "baseline", **baseline}])
        lines += [f"Skill against the baseline: {scores['skill']:+.1%}"] if scores["skill"] is not None else []
    lines += [report["forecasts"]] if "forecasts" in report else []
    lines += [report["scored"]] if "scored" in report else []
    return lines


def inspection_lines(settings: Pipeline, report: InspectionReport) -> list[str]:
    """Return the model of a forecast, and the effect of each covariate on its median."""
    unit = report["unit"] or "in the target's unit"
    rows = [
        {"hidden": name, f"moves the median by ({unit})": summary.number_text(effect)}
        for name, effect in report["moved"].items()
    ]
    return [
        f"{report['series_id']} at {_local(settings, report['issue_time'])} by model {report['model_version']}",
        *table_lines(rows),
        *(
            f"{name} higher by 1: the median changes by {change:+.4g} {unit} on average"
            for name, change in report["responses"].items()
        ),
        f"Wrote {report['path']}",
    ]


def probability_rows(probabilities: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the exceedance probabilities as JSON objects, one per row."""
    return probabilities.with_columns(pl.col("valid_time").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()


def probability_lines(settings: Pipeline, probabilities: pl.DataFrame) -> list[str]:
    """Return the first exceedance probabilities as a table in local time."""
    columns = [name for name in probabilities.columns if name.startswith("p_above_")]
    rows = probabilities.head(_MAX_PROBABILITY_ROWS).select(
        "series_id", _local_time(settings), "step", *(pl.col(name).round(4) for name in columns), "status"
    )
    more = len(probabilities) - len(rows)
    return [
        *table_lines(rows.to_dicts()),
        *([f"  and {counted(more, 'more row')}, which --json prints"] if more else []),
    ]


def preview_lines(settings: Pipeline, store: Store, report: ForecastReport) -> list[str]:
    """Return the first steps of the first series as a table in local time, with the median and the outer quantiles.

    A last line names the newest forecast where the published one is older.
    """
    section = settings.pipeline
    issue_time = datetime.fromisoformat(report["issue_time"])
    count = _PREVIEW_SERIES * section.horizon
    rows = forecasts.read_head(store, settings.name, section.timezone, issue_time, count)
    levels = [name for name in rows.columns if name.startswith("q")]
    columns = dict.fromkeys([levels[0], "q50", levels[-1]])
    preview = rows.group_by("series_id", maintain_order=True).head(_PREVIEW_STEPS)
    lines = table_lines(
        preview.select(
            "series_id", _local_time(settings), "step", *(pl.col(name).round(2) for name in columns), "status",
        ).to_dicts()
    )  # fmt: skip
    newest = forecasts.newest_issue_time(store, settings.name, clock.now())
    if newest is not None and newest > issue_time:
        lines.append(f"latest/ and the page have the forecast of {settings.local_text(newest)}, which is newer.")
    return lines


def _local_time(settings: Pipeline) -> pl.Expr:
    section = settings.pipeline
    form = "%Y-%m-%d" if section.frequency in ("1d", "1b") else "%Y-%m-%d %H:%M %Z"
    return pl.col("valid_time").dt.convert_time_zone(section.timezone).dt.strftime(form)


def table_lines(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return rows as aligned text, with numbers to the right."""
    if not rows:
        return []
    cells = [[escape(str(value)).replace("\n", "\\n") for value in row.values()] for row in rows]
    names = list(rows[0])
    widths = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
    are_numbers = [any(isinstance(row[name], int | float) for row in rows) for name in names]

    def line(values: list[str]) -> str:
        columns = zip(values, widths, are_numbers, strict=True)
        return "  ".join(
            value.rjust(width) if is_number else value.ljust(width) for value, width, is_number in columns
        ).rstrip()

    return [f"  {line(names)}", *(f"  {line(values)}" for values in cells)]
