"""Grid of a feed's history: the settings that placed its rows in time, as JSON beside its parts."""

from __future__ import annotations

import hashlib
import json
import logging

from storage import layout
from storage.schemas import Missing
from storage.schemas.attempts import Failed, attempt
from storage.store import Store

logger = logging.getLogger(__name__)

#: Values of settings by key, null for a setting without a value.
Grid = dict[str, str | None]
_CHECKSUM = "sha256"
_DAMAGED = "%s is ignored, because it is damaged: %s. The next ingest writes it."


def write(store: Store, pipeline: str, feed: str, grid: Grid) -> None:
    """Write the grid of a feed's history, with its checksum: a changed character would be another setting."""
    content = {**grid, _CHECKSUM: _checksum(grid)}
    store.put(layout.history_grid(pipeline, feed), json.dumps(content, indent=2).encode() + b"\n")


def read(store: Store, pipeline: str, feed: str) -> Grid | None:
    """Return the grid of a feed's history, or None if none is recorded or the record is damaged."""
    key = layout.history_grid(pipeline, feed)
    content = attempt(lambda: json.loads(store.get(key)))
    if isinstance(content, Failed) and isinstance(content.error, Missing):
        return None
    if not isinstance(content, dict):
        # The record only protects from changed settings. A forecast must not fail because it cannot be read.
        if isinstance(content, Failed) and content.is_expected:
            # The store cannot be read now. The read of the rows reports it.
            logger.info("%s cannot be read: %s.", store.uri(key), content.text)
            return None
        problem = content.text if isinstance(content, Failed) else "it is not a JSON object"
        logger.warning(_DAMAGED, store.uri(key), problem)
        return None
    grid = {str(name): None if value is None else str(value) for name, value in content.items()}
    # Files of earlier versions have no checksum.
    checksum = grid.pop(_CHECKSUM, None)
    if checksum is not None and checksum != _checksum(grid):
        logger.warning(_DAMAGED, store.uri(key), "its checksum is wrong")
        return None
    return grid


def _checksum(grid: Grid) -> str:
    return hashlib.sha256(json.dumps(grid, sort_keys=True).encode()).hexdigest()[:16]
