"""Parts that the commands share: arguments and options, and errors that a user can correct."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from flows import clock, logs, summary, terminal
from flows.cli.flow_runs import NoServer
from flows.deployment_plan import DEFAULT_DELAY
from flows.settings import file as pipeline_file
from flows.settings import types as setting_types
from flows.settings.questions import open_questions
from storage.schemas import DataError

Command = Callable[..., None]


class OptionError(Exception):
    """An option whose value does not fit the pipeline file. Exit status 2."""


class Group(click.Group):
    """A group of commands that prints an error which a user can correct as one message, with its exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        logs.redact_python_output()
        try:
            return super().invoke(ctx)
        except (pipeline_file.PipelineFileError, clock.TimeError, OptionError) as error:
            terminal.print_error(f"error: {error}")
            ctx.exit(summary.WRONG)
        except (DataError, OSError, NoServer) as error:
            terminal.print_error(f"error: {_problem(error)}")
            ctx.exit(summary.FAILED)
        except KeyboardInterrupt:
            terminal.print_error(
                "error: interrupted. What was published or stored before stays; run the command again."
            )
            ctx.exit(summary.FAILED)


def _problem(error: Exception) -> str:
    """Return an error as a sentence: one of the file system with its file first."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}. Check the path and its permissions."
    return str(error)


def output_options(command: Command) -> Command:
    """Add --json and --quiet to a command, which receives them as `output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @click.option("--quiet", is_flag=True, help="Print errors and warnings only.")
    @functools.wraps(command)
    def with_output(as_json: bool, quiet: bool, **arguments: Any) -> None:
        command(output=terminal.Output(as_json, quiet), **arguments)

    return with_output


def pipeline_argument(command: Command) -> Command:
    """Add the argument FILE and the output options to a command, which receives the path as `pipeline_path`."""
    argument = click.argument("pipeline_path", metavar="FILE", type=click.Path(path_type=Path))
    return argument(output_options(command))


def warn_of_questions(path: Path) -> None:
    """Print a warning about the questions that a pipeline file still contains."""
    unanswered = open_questions(path)
    if unanswered is not None:
        terminal.print_error(f"warning: {unanswered}")


def parse_thresholds(settings: pipeline_file.Pipeline, above: tuple[float, ...]) -> tuple[float, ...]:
    """Return the values of --above, ascending and each once.

    Raises:
        OptionError: If a value cannot name a column, or the model has no probabilities.
    """
    try:
        thresholds = setting_types.check_thresholds(tuple(sorted(set(above))))
        settings.check_thresholds_supported(thresholds)
    except ValueError as error:
        raise OptionError(f"--above {' '.join(f'{x:g}' for x in above)}: {error}") from None
    return thresholds


def parse_interval(text: str | None) -> timedelta | None:
    """Return the value of --retrain-every.

    Raises:
        OptionError: If it is not a duration.
    """
    try:
        return None if text is None else setting_types.parse_duration(text)
    except ValueError as error:
        raise OptionError(f"--retrain-every {text!r}: {error}") from None


def parse_delay(text: str | None) -> timedelta:
    """Return the value of --delay.

    Raises:
        OptionError: If it is not a duration of less than a day.
    """
    if text is None:
        return DEFAULT_DELAY
    try:
        delay = setting_types.parse_duration(text)
    except ValueError as error:
        raise OptionError(f"--delay {text!r}: {error}. Example: 20m.") from None
    if delay >= timedelta(days=1):
        raise OptionError(f"--delay {text!r}: must be shorter than a day. Example: 20m.")
    return delay
