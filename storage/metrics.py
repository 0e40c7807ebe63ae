"""The metrics of a pipeline's last night, one text file that a collector reads."""

from __future__ import annotations

from pathlib import Path

from storage import layout
from storage.store import Store


def keep(store: Store, pipeline: str, text: str) -> Path:
    """Replace the metrics file, whole or not at all: a collector may read at any moment."""
    return store.put(layout.metrics(pipeline), text.encode())
