"""The commands of docs/runbook.md, by what they need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from deployments.installation import ROOT

PAGE = ROOT / "docs" / "runbook.md"
#: First words of commands that need what `make serve` brings up, of those that need nothing, and of a shell's own.
SERVED = ("make ", "python -m deployments ", "prefect ", "gatecast deploy ")
ALONE = ("gatecast ", "tar ", "mkdir ", "mv ")
SHELL = ("set -a", "set +a", '. "${GATECAST_STATE:-store/serve}/client.env"')


def blocks() -> list[str]:
    """Every fenced block of `sh`, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """Its commands: one a line, or over several that end with a backslash."""
    return [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def is_served(block: str) -> bool:
    """Return whether one of the commands needs the served machine."""
    return any(command.startswith(SERVED) for command in commands(block))


def alone() -> list[str]:
    """The blocks that need no served machine."""
    return [block for block in blocks() if not is_served(block)]


def served() -> list[str]:
    """The blocks that need it."""
    return [block for block in blocks() if is_served(block)]


def run(block: str, folder: Path, environment: dict[str, str], limit: float) -> subprocess.CompletedProcess[str]:
    """A block in a shell that ends at the first command that fails, with our programs first in the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.environ['PATH'])}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=folder, env={**environment, "PATH": path},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=limit,
    )  # fmt: skip
