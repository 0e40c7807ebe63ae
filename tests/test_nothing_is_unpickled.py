"""Nothing is unpickled: an unpickler runs any code that its input names."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import gatecast_process, json_report, nightly_process
from tests.support.pipelines import ISSUE, write_pipeline

ROOT = Path(__file__).parent.parent
PACKAGES = ("flows", "gatecast", "model", "storage", "deployments")
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
CALLS = {"torch.load", "torch.jit.load", "torch.hub.load", "pd.read_pickle", "pandas.read_pickle", "yaml.load"}

# Python raises an audit event for every class or function that an unpickler looks up (PEP 578).
AUDIT_HOOK = """
import os, sys, traceback

def record(event, arguments):
    if event == "pickle.find_class":
        with open({log!r}, "a") as log:
            log.write(f"{{sys.argv}} {{arguments}}\\n" + "".join(traceback.format_stack()))

sys.addaudithook(record)
"""


def audit(folder: Path, log: Path) -> dict[str, str]:
    """Return an environment in which every Python process writes its unpicklings to `log`."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(AUDIT_HOOK.format(log=str(log)))
    return {"PYTHONPATH": str(folder)}


def _calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def _imports(tree: ast.AST) -> set[str]:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))], ids=str)
def test_no_module_can_unpickle(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not _imports(tree) & MODULES
    assert not _calls(tree) & CALLS
    keywords = {keyword.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords}
    assert not keywords & {"allow_pickle", "weights_only"}


def test_prefect_stores_no_results() -> None:
    """Prefect pickles results by default. No flow or task stores one, and JSON is set for all others."""
    assert "PREFECT_RESULTS_DEFAULT_SERIALIZER=json" in (ROOT / "deployments/prefect.env").read_text().splitlines()
    for path in sorted((ROOT / "flows").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for decorator in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                text = ast.unparse(decorator)
                if text.startswith("flow"):
                    assert "persist_result=False" in text, f"{path.name}: {text}"
                if text.startswith("task"):
                    not_stored = "cache_policy=NO_CACHE" in text and "persist_result=False" in text
                    assert text.endswith("**TASK)") or not_stored, f"{path.name}: {text}"


@pytest.mark.process
def test_no_run_unpickles_anything(prefect_server: dict[str, str], tmp_path: Path) -> None:
    """A nightly run with a training, in all its processes, and the single stages."""
    log = tmp_path / "unpickled.txt"
    audited = audit(tmp_path / "audit", log)
    path = write_pipeline(tmp_path / "p", max_updates=20)
    home = Path(prefect_server["PREFECT_HOME"])
    done = nightly_process(path, home, "--issue-time", ISSUE, "--json", **audited, **prefect_server)
    assert json_report(done)["train"]["trained"] and json_report(done)["failures"] == {}
    for command in (("forecast", "--issue-time", ISSUE), ("report",), ("models",)):
        assert gatecast_process(command[0], path, *command[1:], **audited).returncode in (0, 3)
    assert not log.exists(), log.read_text()[:4000]


@pytest.mark.process
def test_the_audit_hook_records_an_unpickling(tmp_path: Path) -> None:
    log = tmp_path / "unpickled.txt"
    subprocess.run(
        [sys.executable, "-c", f"import pickle; pickle.loads({pickle.dumps(Path)!r})"], check=True,
        env=audit(tmp_path / "audit", log),
    )  # fmt: skip
    assert "pathlib" in log.read_text()
