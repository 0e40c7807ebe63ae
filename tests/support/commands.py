"""Runs of the gatecast command in processes of their own, and checks of their output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def gatecast(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flows", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def nightly(path: Path, prefect_home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One night in a process of its own, on Prefect's embedded API or the one that `environment` names."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-m", "flows", "nightly", str(path), *arguments],
        capture_output=True, text=True, timeout=400, check=False,
        env={**clean, "PREFECT_HOME": str(prefect_home), **environment},
    )  # fmt: skip


def said(done: subprocess.CompletedProcess[str]) -> dict:
    """The JSON that a command printed."""
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def clear(done, status: int, *words: str) -> None:
    """The command ended with `status` and one error that holds `words`; no traceback reached the user."""
    assert done.returncode == status, (done.stdout, done.stderr)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in errors[0]


def block(folder, *modules: str):
    """A folder for PYTHONPATH in which importing any of `modules` fails."""
    place = folder / "blocked"
    place.mkdir()
    for module in modules:
        (place / f"{module}.py").write_text(f"raise ImportError('{module} must not be imported')")
    return place
