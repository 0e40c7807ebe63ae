"""The records of the nights: what each one read, trained, published, and why anything fell short."""

from __future__ import annotations

import json
from datetime import datetime

from storage import layout
from storage.schemas import DataError
from storage.schemas.records import RunRecord
from storage.store import Store


def write(store: Store, pipeline: str, issue_time: datetime, record: RunRecord) -> str:
    """Write the record (JSON-ready) of the night of `issue_time`; that of an earlier run of it is replaced.

    Returns its place.
    """
    return store.put(layout.run_record(pipeline, issue_time), json.dumps(record, indent=2).encode() + b"\n")


def read(store: Store, pipeline: str, since: datetime | None = None) -> list[RunRecord]:
    """The records of the nights issued at or after `since`, oldest first; empty where none was kept.

    Raises:
        DataError: a record is damaged.
    """
    keys = [
        key for key in store.keys(layout.run_records(pipeline), "*.json")
        if since is None or layout.issue_time(key) >= since
    ]  # fmt: skip
    return [_record(store, key, content) for key, content in zip(keys, store.get_all(keys), strict=True)]


def _record(store: Store, key: str, content: bytes) -> RunRecord:
    try:
        record: RunRecord = json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{store.uri(key)} is not valid JSON ({error}); remove it or restore it from a copy") from None
    return record
