"""Log lines that say which run, pipeline and issue time they are about: plain text, or one JSON object an event.

`logging.yml` beside this file is what Prefect is pointed at; `PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER=json` asks
for JSON.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

#: For `PREFECT_LOGGING_SETTINGS_PATH`.
SETTINGS = Path(__file__).with_name("logging.yml")

# A process runs one flow run. Not a context variable: threads that forward a stage's lines would not see it.
_bound: dict[str, str] = {}


def bind(**about: str | None) -> None:
    """From now on every line of this process says `about` (run, pipeline, issue_time); None says nothing."""
    _bound.update({name: value for name, value in about.items() if value is not None})


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, error, and what was bound."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            **_bound,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)
