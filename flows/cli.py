"""The `gatecast` command. Every command takes the pipeline file first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from flows import clock, logs, summary, terminal
from flows.settings import file as pipeline_file
from flows.settings import types as setting_types
from flows.stage_process.environment import PASSIVE_WAIT
from storage.schemas import DataError
from storage.schemas.records import BackfillReport
from storage.store import Store, open_store


class _Command(click.Group):
    """Turns the errors that a user can mend into one clear message and the exit status of the contract."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (pipeline_file.PipelineFileError, clock.TimeError) as error:
            terminal.print_error(f"error: {error}")
            ctx.exit(summary.WRONG)
        except (DataError, OSError) as error:
            terminal.print_error(f"error: {error}")
            ctx.exit(summary.FAILED)


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gatecast")
def main() -> None:
    """Scheduled batch forecasting: feeds in, an LSTM, quantiles in Parquet out."""
    os.environ.setdefault(*PASSIVE_WAIT)


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option("--quiet", is_flag=True, help="Print nothing but errors and warnings."),
        click.argument("file", type=click.Path(path_type=Path)),
    ):
        command = decorate(command)
    return command


@main.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors and warnings.")
def init(directory: Path, as_json: bool, quiet: bool) -> None:
    """Write a commented pipeline file and a tiny sample into DIR."""
    from flows.stages.init import init as stage

    result = stage(directory)
    terminal.print_result(result, as_json, quiet, [f"wrote {path}" for path in result["written"]])


@main.command()
@_common
def check(file: Path, as_json: bool, quiet: bool) -> None:
    """Validate FILE, read its feeds and say what would be refused."""
    from flows.stages.check import check as stage

    pipeline = pipeline_file.read(file)
    with terminal.progress_bar(as_json, quiet) as progress:
        found = stage(pipeline, clock.now(), progress)
    lines = [f"{file}: pipeline {pipeline.name!r}, {len(pipeline.feed)} feeds; next issue {found['next_issue']}"]
    for name, counts in found["feeds"].items():
        lines.append(
            f"{name}: {counts['read']} rows, {counts['accepted']} accepted, {counts['series'] or 'no'} series, "
            f"{counts['first']} to {counts['last']}"
        )
        lines += [f"  {line}" for line in summary.finding_lines({name: counts})]
        lines += [f"  {name}: late: {counts['late']}"] if counts["late"] else []
    terminal.print_result(found, as_json, quiet, lines)
    for failure in found["failures"].values():
        terminal.print_error(f"error: {failure}")
    sys.exit(summary.FAILED if found["failures"] else summary.PUBLISHED)


@main.command()
@_common
@click.option("--as-of", metavar="T", help="Take in what was available at T (ISO 8601).")
def ingest(file: Path, as_of: str | None, as_json: bool, quiet: bool) -> None:
    """Feeds -> validated history in the store."""
    from flows.stages.ingest import ingest as stage

    pipeline, store = _open(file)
    present = clock.now()
    until = clock.parse_time(as_of, pipeline.pipeline.timezone) if as_of else present
    with terminal.progress_bar(as_json, quiet) as progress:
        report = stage(pipeline, store, until, present, progress)
    terminal.print_result(
        report,
        as_json,
        quiet,
        [*terminal.table_lines(summary.feed_rows(report)), *summary.finding_lines(report["feeds"])],
    )


@main.command()
@_common
@click.option("--as-of", metavar="T", help="Train on what was known at T (ISO 8601).")
def train(file: Path, as_of: str | None, as_json: bool, quiet: bool) -> None:
    """Train a challenger, export it, compare it, promote it or record why not."""
    from flows.stages.train import train as stage

    pipeline, store = _open(file)
    at = _issue(pipeline, store, as_of)
    with terminal.progress_bar(as_json, quiet) as progress:
        manifest = stage(pipeline, store, at, clock.now(), progress)
    terminal.print_result(manifest, as_json, quiet, terminal.training_lines(manifest))


@main.command()
@_common
@click.option("--issue-time", metavar="T", help="Forecast as of T (ISO 8601).")
@click.option("--above", metavar="X", type=float, multiple=True, help="Print P(value > X) too; of a softmax head.")
def forecast(file: Path, issue_time: str | None, above: tuple[float, ...], as_json: bool, quiet: bool) -> None:
    """Champion + history as of T -> one forecast file."""
    from flows.stages.exceedance import exceedance
    from flows.stages.forecast import forecast as stage

    pipeline, store = _open(file)
    asked = _thresholds(pipeline, above)
    at = _issue(pipeline, store, issue_time)
    with terminal.progress_bar(as_json, quiet) as progress:
        published = stage(pipeline, store, at, progress=progress)
    lines = [summary.forecast_sentence(published), *summary.reason_lines(published)]
    if asked:
        chances = exceedance(pipeline, store, at, asked)
        published["above"] = terminal.probability_rows(chances)
        lines += terminal.probability_lines(pipeline, chances)
    else:
        lines += terminal.preview_lines(pipeline, published)
    terminal.print_result(published, as_json, quiet, lines)
    sys.exit(summary.DEGRADED if published["degraded"] else summary.PUBLISHED)


@main.command()
@_common
@click.option("--issue-time", metavar="T", help="The night of T (ISO 8601).")
def nightly(file: Path, issue_time: str | None, as_json: bool, quiet: bool) -> None:
    """Ingest, train if due, forecast, report: one Prefect flow run."""
    # Wrong input is said at once, not after Prefect has started.
    pipeline = pipeline_file.read(file)
    if issue_time:
        clock.parse_time(issue_time, pipeline.pipeline.timezone)
    report = _flow("nightly", as_json, quiet, file, issue_time)
    lines = []
    if report["ingest"]:
        lines += [
            *terminal.table_lines(summary.feed_rows(report["ingest"])),
            *summary.finding_lines(report["ingest"]["feeds"]),
            "",
        ]
    if report["train"] and report["train"]["trained"]:
        lines += [*terminal.training_lines(report["train"]), ""]
    lines += [summary.forecast_sentence(report["forecast"]), *summary.reason_lines(report["forecast"])]
    lines += terminal.preview_lines(pipeline, report["forecast"])
    lines += [summary.score_sentence(report["score"]), f"page: {report['page']}"] if report["score"] else []
    terminal.print_result(report, as_json, quiet, lines)
    for stage, error in report["failures"].items():
        terminal.print_error(f"warning: {stage} failed, the night went on without it: {error}")
    for feed, how in report["late"].items():
        terminal.print_error(f"warning: {feed} is late: {how}")
    for alert in report["alerts"]:
        terminal.print_error(f"warning: {alert['detail']}")
    sys.exit(summary.DEGRADED if report["degraded"] else summary.PUBLISHED)


@main.command()
@_common
@click.option("--start", required=True, metavar="D", help="Local day of the first issue (ISO 8601).")
@click.option("--end", required=True, metavar="D", help="Local day of the last issue, included.")
@click.option("--retrain-every", metavar="7d", help="Instead of the file's training.every.")
@click.option("--no-promotion", is_flag=True, help="Let every model serve, whether or not it earned it.")
@click.option("--output", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="For the two tables.")
def backtest(
    file: Path, start: str, end: str, retrain_every: str | None, no_promotion: bool, output: Path | None,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """The nights of the past, honest as of every issue; scored."""
    from flows.stages.backtest import Plan
    from flows.stages.backtest import backtest as stage

    pipeline, store = _open(file)
    plan = Plan(clock.parse_day(start), clock.parse_day(end), _duration(retrain_every), not no_promotion)
    with terminal.progress_bar(as_json, quiet) as progress:
        report = stage(pipeline, store, plan, output, clock.now(), progress)
    terminal.print_result(report, as_json, quiet, terminal.backtest_lines(report))
    for failure in report["failures"].values():
        terminal.print_error(f"warning: {failure}")
    sys.exit(summary.DEGRADED if set(report["status"]) != {"model"} else summary.PUBLISHED)


@main.command()
@_common
@click.option("--start", required=True, metavar="D", help="Local day of the first night (ISO 8601).")
@click.option("--end", required=True, metavar="D", help="Local day of the last night, included.")
def backfill(file: Path, start: str, end: str, as_json: bool, quiet: bool) -> None:
    """The missed nights, each from what was known then: one Prefect flow run."""
    pipeline_file.read(file)
    clock.parse_day(start), clock.parse_day(end)
    report: BackfillReport = _flow("backfill", as_json, quiet, file, start, end)
    lines = [summary.backfill_sentence(report), *(summary.forecast_sentence(night) for night in report["published"])]
    terminal.print_result(report, as_json, quiet, lines)
    for what, error in report["failures"].items():
        terminal.print_error(f"warning: {what} failed, the nights went on without it: {error}")
    sys.exit(summary.DEGRADED if report["degraded"] else summary.PUBLISHED)


@main.command()
@_common
@click.option("--output", metavar="PATH", type=click.Path(path_type=Path), help="Write it there, not into the store.")
def report(file: Path, output: Path | None, as_json: bool, quiet: bool) -> None:
    """Write the page people read in the morning: one HTML file that needs no network."""
    from flows.stages.report import report as stage

    pipeline, store = _open(file)
    written = stage(pipeline, store, clock.now(), output)
    lines = [f"{written['colour']}: {written['sentence']}", f"wrote {written['path']}"]
    terminal.print_result(written, as_json, quiet, lines)


@main.command()
@_common
@click.option("--series", "series_id", required=True, metavar="S", help="Its series_id.")
@click.option("--issue-time", metavar="T", help="The forecast of T (ISO 8601).")
@click.option("-o", "--output", metavar="PATH", type=click.Path(path_type=Path), help="There, not into the store.")
def inspect(
    file: Path, series_id: str, issue_time: str | None, output: Path | None, as_json: bool, quiet: bool
) -> None:
    """One forecast from the inside: what moved it, and the gates of the LSTM, as an HTML page."""
    from flows.stages.inspect import inspect as stage

    pipeline, store = _open(file)
    written = stage(pipeline, store, series_id, _issue(pipeline, store, issue_time), clock.now(), output)
    terminal.print_result(written, as_json, quiet, terminal.inspection_lines(written))


@main.command()
@_common
@click.option("--rollback", metavar="VERSION", help="Make VERSION, once a champion, serve again.")
def models(file: Path, rollback: str | None, as_json: bool, quiet: bool) -> None:
    """Every model, the champion marked, with why it was or was not promoted."""
    from storage import registry

    pipeline, store = _open(file)
    if rollback:
        registry.roll_back(store, pipeline.name, rollback, clock.now())
    serving = registry.champions(store, pipeline.name)
    found, unusable = registry.read_manifests(store, pipeline.name)
    rows = summary.model_rows(found, serving, registry.rolled_back_versions(store, pipeline.name))
    lines = terminal.table_lines(rows) or [f"pipeline {pipeline.name!r} has no models; run `gatecast train`"]
    terminal.print_result({"champion": serving[0] if serving else None, "models": found}, as_json, quiet, lines)
    for error in unusable:
        terminal.print_error(f"error: {error}")
    sys.exit(summary.FAILED if unusable else summary.PUBLISHED)


def _open(file: Path) -> tuple[pipeline_file.Pipeline, Store]:
    pipeline = pipeline_file.read(file)
    return pipeline, open_store(pipeline.pipeline.store)


def _issue(pipeline: pipeline_file.Pipeline, store: Store, asked: str | None) -> datetime:
    from flows.stages.panels import newest_target

    at, present = pipeline.pipeline, clock.now()
    if asked:
        return clock.parse_time(asked, at.timezone)
    return clock.default_issue_time(at.issue_at, at.timezone, newest_target(pipeline, store, present), present)


def _flow(name: str, as_json: bool, quiet: bool, file: Path, *arguments: Any) -> Any:
    """The report of a flow run; ends the command where the run failed."""
    _prefect_settings(quiet or as_json)
    if not quiet and not as_json:
        click.echo(f"{name} {file}: starting Prefect ...", err=True)
    flow: Any = getattr(import_module(f"flows.{name}"), name)
    state: Any = flow(str(file), *arguments, return_state=True)
    if not state.is_completed():
        error = state.result(raise_on_failure=False)
        terminal.print_error(f"error: {error if isinstance(error, Exception) else state.message}")
        sys.exit(summary.FAILED)
    return state.result()


def _thresholds(pipeline: pipeline_file.Pipeline, above: tuple[float, ...]) -> tuple[float, ...]:
    """What --above asks for, ascending."""
    try:
        asked = setting_types.check_thresholds(tuple(sorted(set(above))))
        pipeline.check_thresholds_supported(asked)
    except ValueError as error:
        raise clock.TimeError(f"--above {' '.join(f'{x:g}' for x in above)}: {error}") from None
    return asked


def _duration(text: str | None) -> timedelta | None:
    try:
        return text if text is None else setting_types.parse_duration(text)
    except ValueError as error:
        raise clock.TimeError(f"--retrain-every {text!r}: {error}") from None


def _prefect_settings(quiet: bool) -> None:
    """Settings of an embedded Prefect that a user of one command expects; what is configured stays."""
    for name, value in {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        # Its own 20 seconds are too few on a busy machine, and the night would fail before it began.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_LOGGING_SETTINGS_PATH": str(logs.SETTINGS),
        "PREFECT_LOGGING_LEVEL": "WARNING" if quiet else "INFO",
    }.items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    main()
