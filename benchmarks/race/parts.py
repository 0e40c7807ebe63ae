"""Cost of each necessary part of a forecast, alone: `python -m benchmarks.race.parts PIPELINE SERIES`.

`benchmarks.race.floor` runs it on one thread. Prints JSON: the CPU-seconds of each part for all series.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from model.forecaster import CHUNK
from model.onnx_runtime import ort

CHUNKS = (32, 64, 128, 256, 512, 1024)
#: Columns of the history that a forecast reads.
_COLUMNS = ("series_id", "valid_time", "available_at", "y")
#: Windows on which the arithmetic is measured.
_WINDOWS = 20_000
TRIES = 3


def main() -> None:
    """Measure all parts and print them."""
    store, series = Path(sys.argv[1]).parent / "store", int(sys.argv[2])
    history = next(store.glob("history/*/*/*.parquet"))
    model = next(store.glob("models/*/*/model.onnx")).read_bytes()
    rows = pl.read_parquet(next(store.glob("latest/*.parquet")))

    def decode() -> None:
        for _ in pl.scan_parquet(history).select(_COLUMNS).collect_batches(chunk_size=240_000):
            pass

    def encode() -> None:
        with tempfile.NamedTemporaryFile(dir=store) as file:
            rows.write_parquet(file.name, compression="zstd", compression_level=1, row_group_size=24_000)

    left, right = (np.random.default_rng(0).random(shape, np.float32) for shape in ((256, 256), (256, 512)))
    product = np.empty((256, 512), np.float32)
    block = np.ones(1 << 26)
    copied = np.ones_like(block)
    gflop, recurrent = _kernels(model)
    figures = {
        "chunk": CHUNK,
        "decode": _cpu(decode),
        "encode": _cpu(encode),
        "arithmetic": {chunk: _cpu(_forward(model, chunk)) * series / _WINDOWS for chunk in CHUNKS},
        "gflop": gflop,
        "recurrent": recurrent,
        "gflops": 2e-9 * left.size * 512 * 500
        / _cpu(lambda: [np.matmul(left, right, out=product) for _ in range(500)]),
        "gigabytes": 1e-9 * block.nbytes / _cpu(lambda: np.copyto(copied, block)),
        "bytes": pl.scan_parquet(history).select(_COLUMNS).collect().estimated_size() + rows.estimated_size(),
    }  # fmt: skip
    print(json.dumps(figures))


def _session(model: bytes, profile: str | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _inputs(session: ort.InferenceSession, windows: int) -> dict[str, np.ndarray]:
    """Return a number of random windows of one issue time."""
    random, inputs = np.random.default_rng(0), {}
    for node in session.get_inputs():
        shape = (1 if node.name == "calendar" else windows, *node.shape[1:])
        is_integer = node.type == "tensor(int64)"
        values = np.zeros(shape, np.int64) if is_integer else random.lognormal(3, 0.3, shape).astype(np.float32)
        inputs[node.name] = values
    return inputs


def _forward(model: bytes, chunk: int) -> Callable[[], None]:
    """Return a function that runs the model over all windows in chunks."""
    session = _session(model)
    inputs = _inputs(session, chunk)

    def run() -> None:
        for start in range(0, _WINDOWS, chunk):
            count = min(chunk, _WINDOWS - start)
            session.run(None, {name: array[:count] for name, array in inputs.items()})

    return run


def _kernels(model: bytes) -> tuple[float, float]:
    """Return the GFLOP of a window in matrix products and recurrent layers, and GFLOP/s of the recurrent kernel."""
    with tempfile.TemporaryDirectory() as folder:
        session = _session(model, f"{folder}/profile")
        inputs = _inputs(session, CHUNK)
        for _ in range(_WINDOWS // CHUNK):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    runs: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event["name"].endswith("_kernel_time"):
            runs.setdefault(event["name"], []).append(event)
    total = recurrent = seconds = 0.0
    for node in runs.values():
        work = 1e-9 * _flop(node[0]["args"])
        total += work
        if node[0]["args"]["op_name"] == "LSTM":
            recurrent += work
            # The profile has wall-clock times. The median excludes runs that other processes interrupted.
            seconds += 1e-6 * statistics.median(run["dur"] for run in node)
    return total / CHUNK, recurrent / seconds


def _flop(node: dict[str, Any]) -> float:
    """Return the multiplications and additions of a node's matrix products."""
    (outputs,) = node["output_type_shape"][0].values()
    shapes = [next(iter(shape.values())) for shape in node["input_type_shape"]]
    if node["op_name"] in ("MatMul", "Gemm", "FusedMatMul"):
        return float(2.0 * np.prod(outputs) * shapes[0][-1])
    if node["op_name"] == "LSTM":
        steps, batch, width = shapes[0]
        hidden = outputs[-1]
        return float(2.0 * steps * batch * 4 * hidden * (width + hidden))
    return 0.0


def _cpu(work: Callable[[], Any]) -> float:
    """Return the least CPU-seconds of a few tries, after one to warm up."""
    work()
    seconds = []
    for _ in range(TRIES):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
