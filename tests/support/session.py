"""What the processes of a test session create once for all of them, and what ends with the session."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

#: The environment variable that names the session's folder.
FOLDER = "GATECAST_TEST_SESSION"
_EXPORTS = Path(os.environ.get("GATECAST_TEST_CACHE", Path(__file__).parents[2] / ".pytest_cache")) / "exports"


def begin() -> None:
    """Create the session's folder, for this process and all that it starts. A process of a session only joins it."""
    if FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="gatecast-tests-")
        atexit.register(_end, os.environ[FOLDER])
        paths = (str(Path(__file__).parent / "startup"), os.environ.get("PYTHONPATH"))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    share_exports()


def once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the path that `make` wrote. The first process that needs it calls `make`, and all others wait for it."""
    return _once(Path(os.environ[FOLDER], name), make)


def share_exports() -> None:
    """Keep exported graphs for all processes of this session and of later ones: an export takes 20 CPU-seconds.

    The key of a graph holds the code and the versions that it depends on.
    """
    try:
        from model.training.export_cache import use_export_cache
    except ModuleNotFoundError:  # a process that does not find this project exports nothing
        return
    use_export_cache(_read_export)


def _read_export(key: str, export: Callable[[], bytes]) -> bytes:
    _EXPORTS.mkdir(parents=True, exist_ok=True)
    return _once(_EXPORTS / f"{key}.onnx", lambda path: _write(path, export())).read_bytes()


def _once(path: Path, make: Callable[[Path], None]) -> Path:
    import filelock

    with filelock.FileLock(f"{path}.lock"):
        if not path.exists():
            complete = path.with_suffix(f".{os.getpid()}")
            make(complete)
            complete.replace(path)
    return path


def stop_at_end(process: int) -> None:
    """Have a process and its group killed when the session ends."""
    with Path(os.environ[FOLDER], "processes").open("a") as processes:
        processes.write(f"{process}\n")


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _end(folder: str) -> None:
    processes = Path(folder, "processes")
    for process in processes.read_text().split() if processes.exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(process), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
