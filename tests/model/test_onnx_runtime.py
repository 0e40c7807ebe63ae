"""ONNX Runtime without telemetry: nothing is sent, and the home folder stays empty."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_OWN_SWITCHES = {"ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "GITHUB_ACTIONS", "TF_BUILD"}


@pytest.mark.process
def test_the_runtime_keeps_no_telemetry(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _OWN_SWITCHES}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", "import model.forecaster, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "1\n"
    assert not list(tmp_path.rglob("*onnxruntime*"))
