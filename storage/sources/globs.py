"""Files that match a glob, also in folders with links that lead back to themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from glob import escape, glob
from pathlib import Path

_ANY_FOLDERS = "**"


def match(pattern: str) -> list[str]:
    """Return the paths that match a glob, each once. `**` stands for any number of folders.

    `glob.glob` follows a link to a parent folder again and again. Here each folder is visited once.
    """
    parts = pattern.split("/")
    if _ANY_FOLDERS not in parts:
        return glob(pattern)
    position = parts.index(_ANY_FOLDERS)
    start, rest = "/".join(parts[:position]), "/".join(parts[position + 1 :]) or "*"
    roots = ["/" if not start and position else "."] if not start else glob(start)
    found: dict[str, None] = {}
    for root in roots:
        for folder in _folders(root):
            found |= dict.fromkeys(match(f"{escape(folder)}/{rest}"))
    return [path.replace("//", "/").removeprefix("./") for path in found]


def _folders(root: str) -> Iterator[str]:
    """Yield a folder and those below it that are not hidden, each once whatever links lead to it."""
    visited: set[tuple[int, int]] = set()
    for folder, names, _ in os.walk(root, followlinks=True):
        facts = Path(folder).stat()
        if (facts.st_dev, facts.st_ino) in visited:
            names.clear()
            continue
        visited.add((facts.st_dev, facts.st_ino))
        names[:] = [name for name in names if not name.startswith(".")]
        yield folder
