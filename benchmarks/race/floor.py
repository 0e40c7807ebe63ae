"""What a forecast cannot do without, each alone and on one thread: `python -m benchmarks.race.floor PIPELINE SERIES`.

The network's arithmetic in ONNX Runtime by the size of a chunk, the decoding of the history's columns and the encoding
of the very rows that were published; and what the processor gives in a matrix product and in copying. Prints JSON: CPU
seconds of each, over all series of the pipeline.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

CHUNKS = (32, 64, 128, 256, 512, 1024)
_WINDOWS = 20_000  # of which the arithmetic is measured
_TRIES = 3


def main() -> None:
    """Measure everything and print it."""
    # Before a library starts its threads.
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    import numpy as np
    import polars as pl

    from model.forecaster import CHUNK

    store, series = Path(sys.argv[1]).parent / "store", int(sys.argv[2])
    history = next(store.glob("history/*/*/*.parquet"))
    model = next(store.glob("models/*/*/model.onnx")).read_bytes()
    forecast = next(store.glob("latest/*.parquet"))

    def decode() -> None:
        columns = pl.scan_parquet(history).select("series_id", "valid_time", "available_at", "y")
        for _ in columns.collect_batches(chunk_size=240_000):
            pass

    rows = pl.read_parquet(forecast)

    def encode() -> None:
        with tempfile.NamedTemporaryFile(dir=store) as file:
            rows.write_parquet(file.name, compression="zstd", compression_level=1, row_group_size=24_000)

    left, right = (np.random.default_rng(0).random(shape, np.float32) for shape in ((256, 256), (256, 512)))
    product = np.empty((256, 512), np.float32)
    block = np.ones(1 << 26)
    copied = np.ones_like(block)
    found = {
        "chunk": CHUNK,
        "decode": _cpu(decode),
        "encode": _cpu(encode),
        "arithmetic": {chunk: _cpu(_forward(model, chunk)) * series / _WINDOWS for chunk in CHUNKS},
        "gflops": 2e-9
        * 256
        * 256
        * 512
        / _cpu(lambda: [np.matmul(left, right, out=product) for _ in range(500)])
        * 500,
        "gigabytes": 1e-9 * block.nbytes / _cpu(lambda: np.copyto(copied, block)),
    }
    print(json.dumps(found))


def _forward(model: bytes, chunk: int):
    """The model over so many windows."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    draws = np.random.default_rng(0)
    inputs = {
        node.name: np.zeros((chunk, *node.shape[1:]), np.int64)
        if node.type == "tensor(int64)"
        else draws.lognormal(3, 0.3, (chunk, *node.shape[1:])).astype(np.float32)
        for node in session.get_inputs()
    }

    def run() -> None:
        for start in range(0, _WINDOWS, chunk):
            count = min(chunk, _WINDOWS - start)
            session.run(None, {name: array[:count] for name, array in inputs.items()})

    return run


def _cpu(work) -> float:
    """The least CPU seconds of a few tries, after one that warms up."""
    work()
    spent = []
    for _ in range(_TRIES):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return min(spent)


if __name__ == "__main__":
    main()
