"""The commands. Each reads its arguments, runs one stage or flow, and prints the result.

A command imports its stage when it runs, so that it starts without the libraries of the other stages.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from flows import clock, logs, summary, terminal
from flows.cli import options
from flows.cli.flow_runs import NoServer, run_flow
from flows.cli.quiet_panics import quiet_panics
from flows.coloured_text import Coloured, Line, Meaning, outcome
from flows.deadline import Deadline
from flows.settings.file import open_pipeline, read
from flows.settings.pipeline import Pipeline
from flows.settings.questions import open_questions
from flows.stage_process import supervision
from flows.standard_streams import EndNow
from storage.schemas.records import BackfillReport, ModelsReport, RunRecord
from storage.store import Store

_ISSUE_TIME = (
    "ISO 8601; a day means its issue time. Default: the last issue time. newest: the last one for which the target is "
    "known."
)

_MEANINGS: dict[str, Meaning] = {"green": "good", "amber": "attention", "red": "bad"}


@click.group(cls=options.Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gatecast")
def main() -> None:
    """Scheduled batch forecasts of load and markets: feeds in, quantiles in Parquet out.

    Exit status: 0 published and complete, 3 published but degraded or without a step that failed, 1 failed, 2 wrong
    command line or pipeline file.
    """


@main.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--from", "file", metavar="FILE.csv", type=click.Path(path_type=Path), help="Propose a pipeline file for this CSV."
)
@click.option("--timezone", metavar="ZONE", help="With --from: zone of the local day, and of times without an offset.")
@options.output_options
def init(directory: Path, file: Path | None, timezone: str | None, output: terminal.Output) -> None:
    """Write a commented pipeline file and a small sample into DIR.

    With --from, the file is one for your own CSV: its separator, decimal mark, times, columns and frequency are
    proposed, and what the CSV leaves open is a question in a comment. The JSON Schema beside the file lets an editor
    complete and check its keys.
    """
    from flows.settings.types import SettingError, check_zone
    from flows.stages import init as stage

    if timezone is not None and file is None:
        raise options.OptionError("--timezone is for --from FILE.csv; without it, change timezone in the written file.")
    if timezone is not None:
        try:
            check_zone(timezone)
        except SettingError as error:
            meant = f' Did you mean "{error.meant}"?' if error.meant else ""
            raise options.OptionError(f"--timezone {timezone!r}: {error}{meant}") from None
    if file is not None and not file.is_file():
        raise options.OptionError(f"--from {file}: there is no such file.")
    report = stage.init(directory) if file is None else stage.init_from(directory, file, timezone)
    lines = [f"Wrote {path}" for path in report["written"]]
    lines += [f"Question: {question}" for question in report["questions"]]
    output.print_result(report, [*lines, f"Next: gatecast check {report['written'][0]}"])


@main.command()
@options.pipeline_argument
def check(pipeline_path: Path, output: terminal.Output) -> None:
    """Check FILE and its feeds. Nothing is written.

    The output lists the rows that an ingest would refuse, and the findings in whole series.
    """
    from flows.stages import check as stage

    settings = read(pipeline_path)
    with quiet_panics(), output.progress() as progress:
        report = stage.check(settings, clock.now(), progress)
    unanswered = open_questions(pipeline_path)
    if unanswered is not None:
        report["failures"]["pipeline file"] = unanswered
    output.print_result(report, terminal.check_lines(pipeline_path, settings, report))
    for failure in report["failures"].values():
        terminal.print_error(f"error: {failure}")
    sys.exit(summary.FAILED if report["failures"] else summary.PUBLISHED)


@main.command()
@options.pipeline_argument
@click.option(
    "--as-of", metavar="T", help="Write what was available at T. ISO 8601; a day means its issue time. Default: now."
)
@click.option("--reread", is_flag=True, help="Read feeds from their start whose settings do not fit their history.")
def ingest(pipeline_path: Path, as_of: str | None, reread: bool, output: terminal.Output) -> None:
    """Check the feeds of FILE and write them to the history.

    Refused rows go to quarantine with a reason.
    """
    from flows.issue_time import parse_requested
    from flows.stages import ingest as stage

    settings, store = open_pipeline(pipeline_path)
    now = clock.now()
    until = parse_requested(settings, as_of) if as_of else now
    with quiet_panics(), output.progress() as progress:
        report = stage.ingest(settings, store, until, now, progress, reread=reread)
    options.warn_of_questions(pipeline_path)
    lines = [
        *terminal.table_lines(summary.feed_rows(report)),
        *summary.finding_lines(report["feeds"], settings.pipeline.timezone),
    ]
    output.print_result(report, lines)
    for failure in report["failures"].values():
        terminal.print_error(f"error: {failure}")
    sys.exit(summary.FAILED if report["failures"] else summary.PUBLISHED)


@main.command()
@options.pipeline_argument
@click.option("--as-of", metavar="T", help=f"Train on what was known at T. {_ISSUE_TIME}")
def train(pipeline_path: Path, as_of: str | None, output: terminal.Output) -> None:
    """Train a challenger, and promote it if it is better.

    The challenger is compared with the champion and the baseline on held-out issue times.
    """
    from flows.issue_time import choose_issue_time
    from flows.stages import train as stage

    settings, store = open_pipeline(pipeline_path)
    now = clock.now()
    chosen = choose_issue_time(settings, store, as_of, now)
    with quiet_panics(), output.progress() as progress:
        manifest = stage.train(settings, store, chosen, now, progress)
    output.print_result(manifest, terminal.training_lines(manifest))


@main.command()
@options.pipeline_argument
@click.option("--issue-time", metavar="T", help=f"Forecast as of T. {_ISSUE_TIME}")
@click.option(
    "--above", metavar="X", type=float, multiple=True,
    help='Also print the probability of a value above X. Needs model.head = "softmax". Can be repeated.',
)  # fmt: skip
def forecast(pipeline_path: Path, issue_time: str | None, above: tuple[float, ...], output: terminal.Output) -> None:
    """Publish one forecast file from the champion and the history."""
    from flows.issue_time import choose_issue_time
    from flows.stages import forecast as stage
    from flows.stages.advisory_steps import AdvisorySteps
    from flows.stages.exceedance import exceedance
    from flows.stages.unusable_history import publish_despite_damage

    settings, store = open_pipeline(pipeline_path)
    deadline = Deadline(settings.forecast.deadline)
    supervision.limit(deadline.for_supervision)
    thresholds = options.parse_thresholds(settings, above)
    chosen = choose_issue_time(settings, store, issue_time, clock.now())
    failure = supervision.failure and f"the model gave no forecast: {supervision.failure}"
    with quiet_panics(), output.progress() as progress:
        report = publish_despite_damage(
            settings,
            store,
            lambda readable, damage: stage.forecast(
                settings, readable, chosen, needs_champion=settings.forecast.strict, stale_reason=damage,
                has_time=deadline.has_forecast_time, progress=progress, now=clock.now(), no_model_reason=failure,
            ),
        )  # fmt: skip
    lines: list[Line] = [outcome(summary.forecast_sentence(report), report["degraded"]), *summary.reason_lines(report)]
    if report["model_version"] is None:
        lines.append(f"To train a model: gatecast train {pipeline_path}")
    steps = AdvisorySteps(report["failures"])
    if thresholds:
        probabilities = steps.run("above", partial(exceedance, settings, store, chosen, thresholds), None)
        if probabilities is not None:
            report["above"] = terminal.probability_rows(probabilities)
            lines += terminal.probability_lines(settings, probabilities)
    else:
        lines += steps.run("preview", partial(terminal.preview_lines, settings, store, report), [])
    output.print_result(report, lines)
    terminal.print_failures(report["failures"])
    sys.exit(summary.exit_status(report["degraded"], report["failures"]))


@main.command()
@options.pipeline_argument
@click.option("--issue-time", metavar="T", help=f"Run for the issue time T. {_ISSUE_TIME}")
def nightly(pipeline_path: Path, issue_time: str | None, output: terminal.Output) -> None:
    """Ingest, train if due, forecast, score and report.

    This is one Prefect flow run. A stage that fails does not stop it.
    """
    from flows.issue_time import check_requested
    from flows.stages.advisory_steps import AdvisorySteps

    # A wrong input is an error before Prefect starts, which takes seconds.
    settings, store = open_pipeline(pipeline_path)
    check_requested(settings, issue_time)
    options.warn_of_questions(pipeline_path)
    try:
        record: RunRecord = run_flow("nightly", output, pipeline_path, issue_time)
    except NoServer as error:
        _publish_without_prefect(pipeline_path, settings, store, issue_time, str(error), output)
        return
    report = record["forecast"]
    assert report is not None, "a run without a forecast fails"
    lines: list[Line] = []
    if record["ingest"]:
        lines += [*terminal.table_lines(summary.feed_rows(record["ingest"]))]
        lines += [*summary.finding_lines(record["ingest"]["feeds"], settings.pipeline.timezone), ""]
    manifest = summary.trained_manifest(record)
    if manifest:
        lines += [*terminal.training_lines(manifest), ""]
    lines += [outcome(summary.forecast_sentence(report), report["degraded"]), *summary.reason_lines(report)]
    # The forecast is published: no failure may hide that.
    steps = AdvisorySteps(record["failures"])
    lines += steps.run("preview", partial(terminal.preview_lines, settings, store, report), [])
    if record["score"]:
        lines += [summary.score_sentence(record["score"]), f"Page: {record.get('page')}"]
    output.print_result(record, lines)
    terminal.print_failures(record["failures"])
    roles = {feed.name: feed.role for feed in settings.feed}
    for feed, lateness in record["late"].items():
        terminal.print_error(f"warning: {lateness.rstrip('.')}. {summary.late_hint(roles[feed])}")
    for alert in record["alerts"]:
        terminal.print_error(f"warning: {alert['detail']}")
    sys.exit(summary.exit_status(record["degraded"], record["failures"]))


def _publish_without_prefect(
    path: Path, settings: Pipeline, store: Store, issue_time: str | None, error: str, output: terminal.Output
) -> None:
    """Publish the forecast of a nightly run whose Prefect API failed, and end the command."""
    from flows.cli.without_prefect import run_without_prefect
    from flows.stage_process.runner import StageFailed

    logs.stop_api_logs()
    terminal.print_error(
        f"warning: {error} This run ingests and forecasts without Prefect. It neither trains nor scores."
    )
    try:
        run = run_without_prefect(path, settings, store, issue_time)
    except StageFailed as failure:
        terminal.print_error(f"error: {failure}")
        sys.exit(summary.FAILED)
    lines: list[Line] = [outcome(summary.forecast_sentence(run.forecast), True), *summary.reason_lines(run.forecast)]
    output.print_result(run.forecast, [*lines, *terminal.preview_lines(settings, store, run.forecast)])
    terminal.print_failures(run.failures)
    # Threads of Prefect would wait for its API for minutes.
    raise EndNow(summary.DEGRADED)


@main.command()
@options.pipeline_argument
@click.option("--start", required=True, metavar="D", help="Local day of the first issue time. ISO 8601.")
@click.option("--end", required=True, metavar="D", help="Local day of the last issue time, included.")
@click.option("--retrain-every", metavar="7d", help="Time between two trainings. Default: training.every of FILE.")
@click.option("--no-promotion", is_flag=True, help="Let every new model serve, whether or not it is better.")
@click.option(
    "--output", "directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for forecasts.parquet and scores.parquet. An interrupted backtest continues there.",
)  # fmt: skip
def backtest(
    pipeline_path: Path, start: str, end: str, retrain_every: str | None, no_promotion: bool, directory: Path | None,
    output: terminal.Output,
) -> None:  # fmt: skip
    """Replay past issue times and score the forecasts.

    Each forecast and training uses only the data known then.
    """
    from flows.issue_time import check_days
    from flows.stages import backtest as stage

    settings, store = open_pipeline(pipeline_path)
    check_days(settings, start, end)
    interval = options.parse_interval(retrain_every)
    plan = stage.Plan(*clock.parse_days(start, end), interval, not no_promotion)
    with output.progress() as progress:
        report = stage.backtest(settings, store, plan, directory, clock.now(), progress)
    output.print_result(report, terminal.backtest_lines(report))
    for failure in report["failures"].values():
        terminal.print_error(f"warning: {failure}")
    sys.exit(summary.DEGRADED if set(report["status"]) != {"model"} else summary.PUBLISHED)


@main.command()
@options.pipeline_argument
@click.option("--start", required=True, metavar="D", help="Local day of the first issue time. ISO 8601.")
@click.option("--end", required=True, metavar="D", help="Local day of the last issue time, included.")
def backfill(pipeline_path: Path, start: str, end: str, output: terminal.Output) -> None:
    """Publish missed forecasts, each from the data known then, score them and write the page.

    This is one Prefect flow run.
    """
    from flows.issue_time import check_days

    # A wrong input is an error before Prefect starts, which takes seconds.
    check_days(read(pipeline_path), start, end)
    report: BackfillReport = run_flow("backfill", output, pipeline_path, start, end)
    sentences = [summary.forecast_sentence(forecast) for forecast in report["published"]]
    lines: list[Line] = [outcome(summary.backfill_sentence(report), report["degraded"]), *sentences]
    lines += [summary.score_sentence(report["score"])] if report["score"] else []
    lines += [summary.champion_sentence(report["champion"])] if report["champion"] else []
    lines += [f"Page: {report['page']['path']}"] if report["page"] else []
    output.print_result(report, lines)
    terminal.print_failures(report["failures"], "backfill")
    sys.exit(summary.exit_status(report["degraded"], report["failures"]))


@main.command()
@options.pipeline_argument
@click.option(
    "--output", "path", metavar="PATH", type=click.Path(path_type=Path, dir_okay=False),
    help="File to write instead of the store's.",
)  # fmt: skip
def report(pipeline_path: Path, path: Path | None, output: terminal.Output) -> None:
    """Write the report page: one HTML file that needs no network."""
    from flows.stages import report as stage

    settings, store = open_pipeline(pipeline_path)
    page = stage.report(settings, store, clock.now(), path)
    verdict = Coloured(f"{page['colour']}: {page['sentence']}", _MEANINGS[page["colour"]])
    output.print_result(page, [verdict, f"Wrote {page['path']}"])


@main.command()
@options.pipeline_argument
@click.option("--series", "series_id", metavar="S", help="The series_id. Default: the only one there is.")
@click.option("--issue-time", metavar="T", help=f"Issue time of the forecast. {_ISSUE_TIME}")
@click.option(
    "-o", "--output", "path", metavar="PATH", type=click.Path(path_type=Path, dir_okay=False),
    help="File to write instead of the store's.",
)  # fmt: skip
def inspect(
    pipeline_path: Path, series_id: str | None, issue_time: str | None, path: Path | None, output: terminal.Output
) -> None:
    """Explain one forecast on an HTML page.

    The page shows the effects of the inputs, and the gates of the LSTM.
    """
    from flows.issue_time import choose_issue_time
    from flows.stages import inspect as stage

    settings, store = open_pipeline(pipeline_path)
    now = clock.now()
    chosen = choose_issue_time(settings, store, issue_time, now)
    known = [series_id] if series_id else stage.series_to_choose(settings, store, chosen)
    if len(known) != 1:
        raise click.UsageError(f"Name one series with --series: {summary.names_text(list(known))}.")
    inspection = stage.inspect(settings, store, known[0], chosen, now, path)
    output.print_result(inspection, terminal.inspection_lines(settings, inspection))


@main.command()
@options.pipeline_argument
@click.option("--work-pool", metavar="NAME", default="gatecast", show_default=True, help="Work pool of the runs.")
@click.option("--delay", metavar="20m", help="Time between issue_at and the start of the nightly run. Default: 20m.")
@click.option("--worker-path", metavar="PATH", help="Path of FILE on the worker. Default: its absolute path here.")
@click.option("--inactive", is_flag=True, help="Create schedules and trigger, but do not activate them.")
@click.option("--remove", is_flag=True, help="Remove all deployments of the pipeline. The store stays.")
def deploy(
    pipeline_path: Path, work_pool: str, delay: str | None, worker_path: str | None, inactive: bool, remove: bool,
    output: terminal.Output,
) -> None:  # fmt: skip
    """Deploy FILE to the Prefect server of PREFECT_API_URL.

    The deployments publish forecasts, retrain, ingest, backfill and write the page. Their schedules follow issue_at,
    and new data start a run that waits for them. Deployments of the pipeline from before are updated or removed.
    """
    settings = read(pipeline_path)
    start_delay = options.parse_delay(delay)
    from flows.deploy import DeployError, DeployOptions, undeploy
    from flows.deploy import deploy as apply

    wanted = DeployOptions(worker_path or str(pipeline_path.resolve()), work_pool, start_delay, not inactive)
    try:
        report = undeploy(settings) if remove else apply(settings, wanted)
    except DeployError as error:
        terminal.print_error(f"error: {error}")
        sys.exit(summary.FAILED)
    lines = [f"Deployed {name}" for name in report["deployed"]] + [f"Removed {name}" for name in report["removed"]]
    if report["deployed"]:
        lines.append(f"Start a worker: prefect worker start --pool {work_pool}")
    output.print_result(report, lines or [f"Pipeline {settings.name!r} has no deployments."])


@main.command()
@options.pipeline_argument
@click.option("--rollback", metavar="VERSION", help="Make VERSION, a former champion, serve again.")
def models(pipeline_path: Path, rollback: str | None, output: terminal.Output) -> None:
    """List every model and why it was promoted or not.

    The champion has a star.
    """
    from storage import registry

    settings, store = open_pipeline(pipeline_path)
    if rollback is not None:
        registry.roll_back(store, settings.name, rollback, clock.now())
    champions = registry.champions(store, settings.name)
    manifests, errors = registry.read_manifests(store, settings.name)
    result: ModelsReport = {"champion": champions[0] if champions else None, "models": manifests}
    rows = summary.model_rows(settings, manifests, champions, registry.rolled_back_versions(store, settings.name))
    lines = terminal.table_lines(rows) or [f"Pipeline {settings.name!r} has no models. Run `gatecast train`."]
    output.print_result(result, lines)
    for error in errors:
        terminal.print_error(f"error: {error}")
    sys.exit(summary.FAILED if errors else summary.PUBLISHED)
