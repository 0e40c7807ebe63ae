"""What the processes of a test session make once, for all of them.

The graphs of networks are: torch's exporter takes 15 to 25 seconds of CPU for each. Everything else of a training is as
ever, and the first process that needs a graph has the exporter write it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

#: The environment variable that names their folder, which is empty when the session begins.
FOLDER = "MADE_ONCE_A_SESSION"


def once(name: str, make: Callable[[Path], None]) -> Path:
    """What `make` puts at the path that it is given: made by the first process that asks, which the others wait for."""
    import filelock

    path = Path(os.environ[FOLDER], name)
    with filelock.FileLock(f"{path}.lock"):
        if not path.exists():
            whole = path.with_suffix(f".{os.getpid()}")
            make(whole)
            whole.replace(path)
    return path


def install() -> None:
    """Share exported graphs between this process and all others of the session."""
    try:
        from model.training.export_cache import use_export_cache
    except ModuleNotFoundError:  # a process that does not find this project needs no graph
        return
    use_export_cache(_shared)


def _shared(key: str, export: Callable[[], bytes]) -> bytes:
    return once(f"{key}.onnx", lambda path: path.write_bytes(export())).read_bytes()
