"""Prefect flow runs from the command line, in the configured API or in Prefect's embedded one."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from flows import logs, summary, terminal
from storage.errors import first_line
from storage.redaction import redact

# Settings of an embedded Prefect that a user of one command expects. Values that are configured stay.
_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    # Prefect's 20 seconds are too few on a busy machine, and the run would fail before it began.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # With Prefect's 60 s and 5 retries, an API that hangs after the forecast would keep the command for half an hour.
    "PREFECT_API_REQUEST_TIMEOUT": "20",
    "PREFECT_CLIENT_MAX_RETRIES": "2",
    "PREFECT_LOGGING_SETTINGS_PATH": str(logs.SETTINGS),
}
# With one of these set, the console shows the log and not the display.
_LOG_VARIABLES = {"PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER"}
_ANSWER_LIMIT = 30.0  # seconds that a configured API may take to answer
_LONGEST_MESSAGE = 300  # characters


class NoServer(Exception):
    """Prefect's API did not start, does not answer, or failed during the run. Exit status 1."""


def run_flow(name: str, output: terminal.Output, pipeline_path: Path, *arguments: object) -> Any:
    """Run the flow of that name and return its report. If the run fails, end the command.

    Raises:
        NoServer: The configured API does not answer, the embedded server did not start, or one of them failed during
            the run.
    """
    shows_log = bool(_LOG_VARIABLES & os.environ.keys())
    for variable, value in _SETTINGS.items():
        os.environ.setdefault(variable, value)
    if not shows_log:
        # The display shows the stages. Prefect's database gets every line.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
        # The command prints one error. Prefect would print the same before it, for each of its runs.
        logs.WithoutRunStates.is_active = True
    if output.is_text:
        click.echo(f"{name} {pipeline_path}", err=True)
    with contextlib.nullcontext() if shows_log else output.stages():
        try:
            # Prefect reads the settings above, and its own files, when it is imported.
            from flows import configured_server, embedded_server
        except Exception as failure:
            raise _not_loaded(failure) from None
        try:
            is_own = embedded_server.start_if_needed(os.environ, partial(importlib.import_module, f"flows.{name}"))
            if not is_own:
                configured_server.require_answer(_ANSWER_LIMIT)
        except embedded_server.ServerError as failure:
            raise NoServer(str(failure)) from None
        except Exception as failure:
            raise _not_loaded(failure) from None
        flow: Any = getattr(importlib.import_module(f"flows.{name}"), name)
        try:
            state: Any = flow(str(pipeline_path), *arguments, return_state=True)
        except KeyboardInterrupt:
            # Prefect logs the traceback of the thread that was interrupted, which is of no use here.
            logging.disable(logging.CRITICAL)
            raise
        except Exception as failure:
            # The errors of a flow are in its state. This one is Prefect's.
            raise NoServer(f"Prefect failed during the run: {first_line(failure, redact).rstrip('.')}.") from None
    if not state.is_completed():
        error = state.result(raise_on_failure=False)
        terminal.print_error(f"error: {error if isinstance(error, Exception) else state.message}")
        sys.exit(summary.FAILED)
    return state.result()


def _not_loaded(failure: Exception) -> NoServer:
    """Return the error of a Prefect whose settings or files are wrong. Its messages have several lines."""
    return NoServer(
        f"Prefect cannot be loaded: {' '.join(redact(str(failure)).split())[:_LONGEST_MESSAGE].rstrip('.')}."
    )
