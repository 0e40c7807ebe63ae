"""Files of Prefect's embedded server that no other user of the machine may read."""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import unquote

_SQLITE = ("sqlite://", "sqlite+aiosqlite://")


def make_private(home: Path, database: Path | None) -> None:
    """Take the rights of other users away from the folder of Prefect and from the files of its database.

    Files of another owner stay as they are.

    Args:
        home: Folder of Prefect, created if it is missing.
        database: Database in a file, None if Prefect uses another one.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = [] if database is None else [database.with_name(f"{database.name}{end}") for end in ("", "-wal", "-shm")]
    for path, mode in ((home, 0o700), *((file, 0o600) for file in files)):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            path.chmod(mode)


def sqlite_path(url: str) -> Path | None:
    """Return the path of a SQLite database, None for a database in memory or on a server."""
    scheme, _, path = url.partition(":///")
    name = unquote(path.partition("?")[0])
    if f"{scheme}://" not in _SQLITE or name in ("", ":memory:") or name.startswith("file:"):
        return None
    return Path(name)
