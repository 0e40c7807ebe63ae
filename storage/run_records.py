"""Run records: what each nightly run read, trained and published, and why anything failed."""

from __future__ import annotations

import json
from datetime import datetime

from storage import layout
from storage.redaction import redact_values
from storage.renamed_keys import update_run_record
from storage.schemas import DataError
from storage.schemas.records import RunRecord
from storage.store import Store


def write(store: Store, pipeline: str, issue_time: datetime, record: RunRecord) -> str:
    """Write the record of the run for `issue_time` and return its uri. It replaces the record of an earlier run."""
    content = json.dumps(redact_values(record), indent=2).encode() + b"\n"
    return store.put(layout.run_record(pipeline, issue_time), content)


def read(store: Store, pipeline: str, since: datetime | None = None) -> list[RunRecord]:
    """Return the records of runs with an issue time at or after `since`, oldest first.

    Raises:
        DataError: A record is damaged.
    """
    keys = [
        key for key in store.keys(layout.run_records(pipeline), "*.json")
        if since is None or layout.issue_time(key) >= since
    ]  # fmt: skip
    return [_parse(store, key, content) for key, content in zip(keys, store.get_all(keys), strict=True)]


def _parse(store: Store, key: str, content: bytes) -> RunRecord:
    try:
        record: RunRecord = update_run_record(json.loads(content))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{store.uri(key)} is not valid JSON: {error}. Delete it or restore it from a backup."
        ) from None
    return record
