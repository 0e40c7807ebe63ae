"""Files with the metrics of a pipeline's last run, in Prometheus' text format."""

from __future__ import annotations

from storage import layout
from storage.redaction import redact_registered
from storage.store import Store


def write(store: Store, pipeline: str, text: str) -> str:
    """Replace the metrics in the store and return their uri."""
    return store.put(layout.metrics(pipeline), redact_registered(text).encode())


def write_to_collector(folder: Store, pipeline: str, text: str) -> str:
    """Replace the metrics in a collector's folder, which other pipelines and programs share, and return their uri."""
    return folder.put(layout.collector_metrics(pipeline), redact_registered(text).encode())
