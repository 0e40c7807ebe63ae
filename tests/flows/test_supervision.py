"""A command that computes in a child process: what its parent does if the child does not end, is killed or ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from flows.settings import file as pipeline_file
from storage import registry
from storage.store import open_store
from tests.support.pipelines import ISSUE

pytestmark = pytest.mark.process

SCRIPT = """
import os, signal, sys, time
from flows.stage_process import supervision
supervision.supervise()
if supervision.failure is None:
    supervision.limit({limit})
    print(os.getpid(), flush=True)
    {child}
print(supervision.failure)
sys.exit(7)
"""


def started(child: str, limit: float = 60) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(child=child, limit=limit)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("child", "limit", "status", "printed"),
    [
        ("sys.exit(0)", 60, 0, ""), ("sys.exit(3)", 60, 3, ""), ("os._exit(1)", 60, 1, ""),
        # A lock of the interpreter that is never released, as in a library that does not release it.
        ("while True: pass", 0.5, 7, "it was stopped at its time limit. Raise forecast.deadline if"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 60, 7, "its process was killed (SIGKILL)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 60, 7, "its process was killed (SIGSEGV)"),
    ],
)  # fmt: skip
def test_the_parent_ends_as_the_child_or_goes_on_in_its_place(
    child: str, limit: float, status: int, printed: str
) -> None:
    process = started(child, limit)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert output.partition("\n")[2].startswith(printed) and bool(printed) == bool(output.partition("\n")[2])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_no_child_outlives_its_parent(number: signal.Signals, status: int) -> None:
    process = started("while True: time.sleep(1)")
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.send_signal(number)
    assert process.wait(60) == status
    end = time.monotonic() + 60
    while _is_running(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _is_running(child)


def _is_running(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_model_that_never_ends_leaves_the_baseline(pipeline: Path) -> None:
    """ONNX Runtime looks at the time between two nodes only. This file is one convolution of 10^13 products."""
    settings = pipeline_file.read(pipeline, {})
    store = open_store(settings.pipeline.store)
    at = datetime.fromisoformat(registry.read_manifest(store, settings.name, champion(store))["as_of"])
    content = with_convolution(registry.load(store, settings.name, champion(store)))
    manifest = {k: v for k, v in registry.read_manifest(store, settings.name, champion(store)).items()
                if k not in ("version", "as_of", "sha256")}  # fmt: skip
    registry.promote(store, settings.name, registry.add(store, settings.name, at, content, manifest))
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "flows", "forecast", str(pipeline), "--issue-time", ISSUE], capture_output=True,
        text=True, timeout=300, check=False, env={**os.environ, "GATECAST_FORECAST__DEADLINE": "20s"},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "72 baseline rows" in done.stdout
    assert "the model gave no forecast: it was stopped at its time limit" in done.stdout
    assert time.monotonic() - begun < 200


def champion(store: object) -> str:
    return registry.champions(store, "small")[0]  # type: ignore[arg-type]


def with_convolution(content: bytes) -> bytes:
    """Add a convolution over inputs that the file computes, whose result is multiplied by 0."""
    model = onnx.load_model_from_string(content)
    graph = model.graph
    (node,) = [node for node in graph.node if "quantiles" in node.output]
    node.output[list(node.output).index("quantiles")] = "true_quantiles"
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1e-9])
    for name, value in (("kernel_size", [1, 1, 4_000_000]), ("signal_size", [1, 1, 8_000_000])):
        graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
    graph.node.extend([
        helper.make_node("ConstantOfShape", ["kernel_size"], ["kernel"], value=one),
        helper.make_node("ReduceMax", ["true_quantiles"], ["largest"], keepdims=1),
        helper.make_node("Expand", ["largest", "signal_size"], ["signal"]),
        helper.make_node("Conv", ["signal", "kernel"], ["convolved"]),
        helper.make_node("ReduceMax", ["convolved"], ["highest"], keepdims=0),
        helper.make_node("Mul", ["highest", "nothing"], ["zero"]),
        helper.make_node("Add", ["true_quantiles", "zero"], ["quantiles"]),
    ])  # fmt: skip
    written: bytes = model.SerializeToString()
    return written
