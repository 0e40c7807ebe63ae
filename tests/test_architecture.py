"""The rules of docs/architecture.md."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import gatecast, said
from tests.support.pipelines import ISSUE

ROOT = Path(__file__).parent.parent
ROOMS = ("flows", "model", "storage")
MODULES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def test_import_contracts():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_only_the_pipeline_file_reads_the_environment_and_only_flows_the_clock():
    for path in MODULES:
        names = {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        room = path.relative_to(ROOT).as_posix()
        if room not in ("flows/settings/file.py", "flows/cli.py", "flows/__main__.py"):
            assert "os.environ" not in names, room
        if room != "flows/clock.py":
            assert "datetime.now" not in names, room


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "helper", "common", "base", "misc"])
def test_names_that_are_no_idea(name):
    assert not [path for path in MODULES if path.stem == name]


def test_a_forecast_needs_no_torch_onnx_pandas_or_prefect(pipeline, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for module in ("torch", "onnx", "pandas", "prefect"):
        (blocked / f"{module}.py").write_text(f"raise ImportError('{module} must not be imported')")
    for command in (("ingest", "--as-of"), ("forecast", "--issue-time")):
        done = gatecast(command[0], pipeline, command[1], ISSUE, "--json", PYTHONPATH=str(blocked))
        assert done.returncode == 0, done.stderr
    assert said(done)["status"] == {"model": 72}
    done = gatecast("train", pipeline, "--as-of", ISSUE, PYTHONPATH=str(blocked))
    assert done.returncode == 1


def test_a_forecast_takes_under_two_seconds_of_cpu(pipeline):
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = spent()
    assert gatecast("forecast", pipeline, "--issue-time", ISSUE).returncode == 0
    assert spent() - before < 2.0
