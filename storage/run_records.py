"""Run records: what each nightly run read, trained and published, and why anything failed."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from functools import partial

from storage import layout
from storage.redaction import redact_values
from storage.renamed_keys import update_run_record
from storage.schemas import DataError
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import RunRecord
from storage.store import Store

logger = logging.getLogger(__name__)


def write(store: Store, pipeline: str, issue_time: datetime, record: RunRecord) -> str:
    """Write the record of the run for `issue_time` and return its uri. It replaces the record of an earlier run."""
    content = json.dumps(redact_values(record), indent=2).encode() + b"\n"
    return store.put(layout.run_record(pipeline, issue_time), content)


def read(store: Store, pipeline: str, since: datetime | None = None) -> list[RunRecord]:
    """Return the records of runs with an issue time at or after `since`, oldest first.

    A record that cannot be read is left out with a warning: no run and no page may fail because of an earlier run.
    """
    times = layout.issue_times(store.keys(layout.run_records(pipeline), "*.json"))
    keys = [key for key, time in times.items() if since is None or time >= since]
    contents: list[bytes] | Failed = attempt(lambda: store.get_all(keys))
    records = []
    for number, key in enumerate(keys):
        record = attempt(partial(_read, store, key, None if isinstance(contents, Failed) else contents[number]))
        if isinstance(record, Failed):
            logger.warning("The run record %s is left out: %s", store.uri(key), record.text)
        else:
            records.append(record)
    return records


def _read(store: Store, key: str, content: bytes | None) -> RunRecord:
    """Return the record at `key`, whose content may have been read already."""
    try:
        record: RunRecord = update_run_record(json.loads(store.get(key) if content is None else content))
    except ValueError as error:  # invalid JSON, or bytes that are not text
        raise DataError(f"it is not valid JSON: {error}. Delete it or restore it from a backup.") from None
    if not isinstance(record, dict):
        raise DataError("it is not a JSON object. Delete it or restore it from a backup.")
    return record
