"""Log lines with their run, pipeline, issue time and stage, as plain text or as one JSON object each.

Prefect reads `logging.yml` beside this file. `PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER=json` selects JSON. A stage
process always writes JSON lines, and its parent relays them to its own log.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from storage.errors import ExpectedError
from storage.redaction import redact

#: Path for `PREFECT_LOGGING_SETTINGS_PATH`.
SETTINGS = Path(__file__).with_name("logging.yml")
_PACKAGES = ("flows", "model", "storage")
_STAGE_PROCESS = "flows.stage_process"
_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
_TRACEBACK = logging.Formatter()

# A process runs one flow run. A context variable would not reach the threads that relay a stage's lines.
_context: dict[str, str] = {}


def bind(**context: str | None) -> None:
    """Add the values (run, pipeline, issue_time) to every further line of this process. None removes a value."""
    for name, value in context.items():
        if value is None:
            _context.pop(name, None)
        else:
            _context[name] = value


class Redacting(logging.Filter):
    """A filter that hides the secrets of uris in every line and traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info and isinstance(record.exc_info[1], ExpectedError):
            # The message has the sentence of the error, and a traceback would hide it.
            record.exc_info = record.exc_text = None
        if record.exc_info:
            # A formatter writes this text if it is set, instead of formatting the traceback.
            record.exc_text = redact(_TRACEBACK.formatException(record.exc_info))
        return True


def redact_python_output() -> None:
    """Redact what Python prints by itself: tracebacks, and log lines of a command without a configuration."""
    handler = logging.lastResort
    if handler is not None and not any(isinstance(each, Redacting) for each in handler.filters):
        handler.addFilter(Redacting())
    sys.excepthook = _print_redacted


def _print_redacted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def stop_api_logs() -> None:
    """Send no further lines to Prefect's API, which does not answer."""
    names = ("", *logging.root.manager.loggerDict)
    for logger in map(logging.getLogger, names):
        for handler in [each for each in logger.handlers if type(each).__name__ == "APILogHandler"]:
            logger.removeHandler(handler)


class WithoutRunStates(logging.Filter):
    """A filter that removes Prefect's lines about the states of its runs while a command reports the outcome itself."""

    is_active = False

    def filter(self, record: logging.LogRecord) -> bool:
        return not (WithoutRunStates.is_active and record.name.startswith(_RUN_LOGGERS))


class JsonLines(logging.Formatter):
    """A formatter that writes one JSON object per line: time, level, logger, context, stage, message, error."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            **_context,
        }
        if stage := getattr(record, "stage", None):
            line["stage"] = stage
        line["message"] = record.getMessage()
        if record.exc_info:
            line["error"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_parent(stream: IO[str]) -> None:
    """Log to `stream` in the JSON lines that `relay` reads: this project from INFO, libraries from WARNING."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    handler.addFilter(Redacting())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for package in _PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO)


def relay(line: str, stage: str) -> str:
    """Log a line of a stage process with its original logger and level, and return its message.

    Any other line, such as one that a library prints, is logged as information of `flows.stage_process`.
    """
    record: dict[str, Any]
    try:
        record = json.loads(line)
        level = logging.getLevelNamesMapping()[record["level"]]
        name, message = record["logger"], str(record["message"])
    except (ValueError, KeyError, TypeError):
        name, level, message, record = _STAGE_PROCESS, logging.INFO, redact(line), {}
    text = f"{message}\n{record['error']}" if "error" in record else message
    # The configuration opens the loggers of this project only, so lines of libraries go to one of them.
    logger = logging.getLogger(name if name.split(".")[0] in _PACKAGES else _STAGE_PROCESS)
    logger.log(level, "%s", text, extra={"stage": stage})
    return message
