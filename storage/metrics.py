"""The metrics of a pipeline's last night, one text file that a collector reads."""

from __future__ import annotations

from storage import layout
from storage.store import Store


def write(store: Store, pipeline: str, text: str) -> str:
    """Replace the metrics in the store, whole or not at all: they may be read at any moment. Returns their place."""
    return store.put(layout.metrics(pipeline), text.encode())


def write_to_collector(folder: Store, pipeline: str, text: str) -> str:
    """The same in a folder of a collector's, which has the files of many pipelines and of others."""
    return folder.put(layout.collector_metrics(pipeline), text.encode())
