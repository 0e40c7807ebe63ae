"""Nothing is ever unpickled: what unpickles runs whatever its bytes say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.commands import gatecast, nightly, said
from tests.support.pipelines import ISSUE, write_pipeline

ROOT = Path(__file__).parent.parent
ROOMS = ("flows", "model", "storage", "deployments")
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
CALLS = {"torch.load", "torch.jit.load", "torch.hub.load", "pd.read_pickle", "pandas.read_pickle", "yaml.load"}

# Python tells its auditors of every class or function that an unpickler looks up.
WATCH = """
import os, sys, traceback

def watch(event, arguments):
    if event == "pickle.find_class":
        with open({told!r}, "a") as told:
            told.write(f"{{sys.argv}} {{arguments}}\\n" + "".join(traceback.format_stack()))

sys.addaudithook(watch)
"""


def _called(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def _imported(tree: ast.AST) -> set[str]:
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", [p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))], ids=str)
def test_no_module_can_unpickle(path):
    tree = ast.parse(path.read_text())
    assert not _imported(tree) & MODULES
    assert not _called(tree) & CALLS
    keywords = {k.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for k in node.keywords}
    assert not keywords & {"allow_pickle", "weights_only"}


def test_prefects_results_are_json_wherever_it_runs():
    """And none is kept: every task of ours says so, and what Prefect would do by itself is set for all others."""
    assert "PREFECT_RESULTS_DEFAULT_SERIALIZER=json" in (ROOT / "deployments/prefect.env").read_text().splitlines()
    for path in sorted((ROOT / "flows").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for made in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                text = ast.unparse(made)
                if text.startswith("flow"):
                    assert "persist_result=False" in text, f"{path.name}: {text}"
                if text.startswith("task"):
                    kept_nowhere = "cache_policy=NO_CACHE" in text and "persist_result=False" in text
                    assert text.endswith("**TASK)") or kept_nowhere, f"{path.name}: {text}"


def test_no_run_unpickles_anything(prefect_server, tmp_path):
    """From feeds to page, with a training, in all processes of a night; and the single stages."""
    told = tmp_path / "told.txt"
    watching = tmp_path / "watching"
    watching.mkdir()
    (watching / "sitecustomize.py").write_text(WATCH.format(told=str(told)))
    path = write_pipeline(tmp_path / "p", budget="40s")
    watched = {"PYTHONPATH": str(watching)}
    home = Path(prefect_server["PREFECT_HOME"])
    done = nightly(path, home, "--issue-time", ISSUE, "--json", **watched, **prefect_server)
    assert said(done)["train"]["trained"] and said(done)["failures"] == {}
    for command in (("forecast", "--issue-time", ISSUE), ("report",), ("models",)):
        assert gatecast(command[0], path, *command[1:], **watched).returncode in (0, 3)
    assert not told.exists(), told.read_text()[:4000]


def test_the_watch_sees_an_unpickling(tmp_path):
    import pickle
    import subprocess
    import sys

    told = tmp_path / "told.txt"
    (tmp_path / "sitecustomize.py").write_text(WATCH.format(told=str(told)))
    subprocess.run(
        [sys.executable, "-c", f"import pickle; pickle.loads({pickle.dumps(Path)!r})"], check=True,
        env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert "pathlib" in told.read_text()
