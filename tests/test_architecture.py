"""The rules of docs/architecture.md."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.commands import block, gatecast_process, json_report
from tests.support.pipelines import ISSUE

ROOT = Path(__file__).parent.parent
PACKAGES = ("flows", "gatecast", "model", "storage")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.fixture(scope="module")
def imports() -> ModuleType:
    """The check of import rules, .ci/imports.py."""
    spec = importlib.util.spec_from_file_location("ci_imports", ROOT / ".ci" / "imports.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A NamedTuple with deferred annotations looks its module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_no_import_is_forbidden_and_none_makes_a_cycle(imports: ModuleType) -> None:
    edges = imports.read_imports(ROOT, [*PACKAGES, "deployments"])
    assert len(edges) > 500
    assert imports.forbidden_imports(edges, imports.RULES) == []
    assert imports.import_cycles(edges) == []


def test_every_rule_covers_a_module(imports: ModuleType) -> None:
    modules = {entry.importer for entry in imports.read_imports(ROOT, [*PACKAGES, "deployments"])}
    assert {imports.find_unit(module, imports.RULES) for module in modules} == set(imports.RULES)


@pytest.mark.parametrize(
    ("module", "line", "words"),
    [
        ("model/new", "import storage.history", "model must not import storage.history"),
        ("model/new", "from storage import history", "model must not import storage.history"),
        ("model/new", "def f():\n    import torch", "model must not import torch within a function"),
        ("model/checks/new", "from model.training import fit", "model must not import model.training.fit"),
        ("storage/new", "import prefect.flows", "storage must not import prefect.flows"),
        ("flows/new", "from prefect import flow", "flows must not import prefect"),
        ("flows/stages/new", "from model.training import fit", "flows.stages must not import model.training.fit"),
        ("flows/stages/new", "from . import train", "flows.stages must not import ."),
        ("flows/page/new", "from storage import history", "flows.page must not import storage.history"),
        ("model/new", "if True:\n    import requests", "model must not import requests"),
    ],
)
def test_an_import_that_no_rule_names_is_forbidden(
    imports: ModuleType, tmp_path: Path, module: str, line: str, words: str
) -> None:
    write_module(tmp_path, "storage/history", "")
    write_module(tmp_path, "model/training/fit", "")
    write_module(tmp_path, module, f"import json\nimport polars\n{line}\n")
    (violation,) = imports.forbidden_imports(
        imports.read_imports(tmp_path, ["flows", "model", "storage"]), imports.RULES
    )
    assert f"{module.replace('/', '.')}:" in violation and words in violation


def test_an_import_within_a_function_may_be_allowed_there_only(imports: ModuleType, tmp_path: Path) -> None:
    write_module(tmp_path, "model/training/fit", "")
    write_module(tmp_path, "flows/stages/new", "def f():\n    from model.training import fit\n")
    assert imports.forbidden_imports(imports.read_imports(tmp_path, ["flows", "model"]), imports.RULES) == []


def test_a_package_without_a_rule_and_a_cycle_are_named(imports: ModuleType, tmp_path: Path) -> None:
    write_module(tmp_path, "other/a", "from other import b\n")
    write_module(tmp_path, "other/b", "import other.c\n")
    write_module(tmp_path, "other/c", "from other import a\ndef f():\n    from other import d\n")
    write_module(tmp_path, "other/d", "from other import c\n")
    edges = imports.read_imports(tmp_path, ["other"])
    assert all("no rule" in line for line in imports.forbidden_imports(edges, imports.RULES))
    assert imports.import_cycles(edges) == ["cycle: other.a -> other.b -> other.c -> other.a"]


def write_module(root: Path, name: str, text: str) -> None:
    path = root / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_only_the_pipeline_file_reads_the_environment_and_only_flows_the_clock() -> None:
    for path in MODULES:
        names = {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        name = path.relative_to(ROOT).as_posix()
        # flows/coloured_text.py reads what a terminal can show: TERM, NO_COLOR. model/onnx_runtime.py sets a variable.
        readers = ("flows/settings/file.py", "flows/cli/flow_runs.py", "flows/__main__.py", "flows/coloured_text.py",
                   "model/onnx_runtime.py")  # fmt: skip
        if name not in readers:
            assert "os.environ" not in names, name
        if name not in ("flows/clock.py", "gatecast/reading.py"):
            assert "datetime.now" not in names, name


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "helper", "common", "base", "misc"])
def test_names_that_are_no_idea(name: str) -> None:
    assert not [path for path in MODULES if path.stem == name]


@pytest.mark.process
def test_a_forecast_needs_no_torch_onnx_pandas_or_prefect(pipeline: Path, tmp_path: Path) -> None:
    blocked = block(tmp_path, "torch", "onnx", "pandas", "prefect")
    for command in (("ingest", "--as-of"), ("forecast", "--issue-time")):
        done = gatecast_process(command[0], pipeline, command[1], ISSUE, "--json", PYTHONPATH=str(blocked))
        assert done.returncode == 0, done.stderr
    assert json_report(done)["status"] == {"model": 72}
    done = gatecast_process("train", pipeline, "--as-of", ISSUE, PYTHONPATH=str(blocked))
    assert done.returncode == 1
