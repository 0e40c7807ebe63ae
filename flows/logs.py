"""Log lines that say which run, pipeline, issue time and stage they are about: plain text, or one JSON object each.

`logging.yml` beside this file is what Prefect is pointed at; `PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER=json` asks
for JSON. A stage in a process of its own writes JSON lines too, which its caller takes into its own log.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from storage.redaction import redact

#: For `PREFECT_LOGGING_SETTINGS_PATH`.
SETTINGS = Path(__file__).with_name("logging.yml")
_ROOMS = ("flows", "model", "storage")
_CALLER = "flows.stage_process"
_TRACEBACK = logging.Formatter()

# A process runs one flow run. Not a context variable: threads that forward a stage's lines would not see it.
_bound: dict[str, str] = {}


def bind(**about: str | None) -> None:
    """From now on every line of this process says `about` (run, pipeline, issue_time); None: no longer."""
    for name, value in about.items():
        if value is None:
            _bound.pop(name, None)
        else:
            _bound[name] = value


class Redacting(logging.Filter):
    """Hides the secrets of every uri in a line and in its traceback, whoever writes it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info:
            # Where this is set, a formatter does not write the traceback anew.
            record.exc_text = redact(_TRACEBACK.formatException(record.exc_info))
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, what was bound, the stage, message, error."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            **_bound,
        }
        if stage := getattr(record, "stage", None):
            said["stage"] = stage
        said["message"] = record.getMessage()
        if record.exc_info:
            said["error"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def log_to_parent(stream: IO[str]) -> None:
    """Log to `stream` as JSON lines that `relay` reads: this project from INFO on, libraries from WARNING on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    handler.addFilter(Redacting())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for room in _ROOMS:
        logging.getLogger(room).setLevel(logging.INFO)


def relay(line: str, stage: str) -> str:
    """Log a line that a stage wrote, by the logger and level it was logged with there; returns its message.

    What is no such line, such as a library's own print, is information of `flows.stage_process`.
    """
    try:
        said = json.loads(line)
        name, level, message = said["logger"], logging.getLevelNamesMapping()[said["level"]], str(said["message"])
    except (ValueError, KeyError, TypeError):
        name, level, message, said = _CALLER, logging.INFO, redact(line), {}
    text = f"{message}\n{said['error']}" if "error" in said else message
    # Loggers of libraries are not ours to open: theirs come under the caller's.
    logger = logging.getLogger(name if name.split(".")[0] in _ROOMS else _CALLER)
    logger.log(level, "%s", text, extra={"stage": stage})
    return message
