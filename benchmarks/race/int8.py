"""A model of the sample in eight bits beside itself in 32: `python -m benchmarks.race.int8`. Prints Markdown.

ONNX Runtime's dynamic quantisation of the matrix products and the recurrent layers. The pinball loss is over all
midnights of the three months after those that the model was fitted on; the speed is of one thread, in chunks of the
forecaster's size.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.first_light import ISSUE, PIPELINE
from benchmarks.race.cost import loads
from flows import clock
from flows.settings import file as pipeline_file
from flows.stages.panels import known_series, revision_panel, to_micros
from model.evaluation.metrics import pinball
from model.forecaster import Forecaster
from model.windows import Windows, build_windows
from storage.store import open_store

FITTED = "2018-06-01"
_WINDOWS = 10_000  # whose speed is taken
_TRIES = 5


def main() -> None:
    """Run everything and print the table."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"GATECAST_PIPELINE__STORE": f"{scratch}/store", "GATECAST_TRAINING__BUDGET": "60s"}
        for command, day in (("ingest", ISSUE), ("train", FITTED)):
            subprocess.run([sys.executable, "-m", "flows", command, PIPELINE, "--as-of", day, "--quiet"], check=True)
        (whole,) = Path(scratch).glob("store/models/*/*/model.onnx")
        small = Path(scratch) / "int8.onnx"
        # Only weights that lie in the file as the kernels want them are quantised.
        folded = Path(scratch) / "folded.onnx"
        quant_pre_process(whole, folded, skip_symbolic_shape=True)
        quantize_dynamic(folded, small, weight_type=QuantType.QInt8)
        seen, actual = _past()
        print("| weights | file kB | CPU s of 100,000 windows | pinball | a window alone and among others |")
        print("|---|---:|---:|---:|---|")
        losses = []
        for name, file in (("float32", whole), ("int8", small)):
            forecaster = Forecaster(file.read_bytes())
            found = forecaster.quantiles(seen)
            losses.append(float(np.nanmean(pinball(found, np.array(forecaster.spec.levels), actual))))
            alone = np.concatenate([forecaster.quantiles(seen[i : i + 1]) for i in range(len(seen))])
            apart = float((np.abs(alone - found) / np.abs(found)).max())
            same = f"differ by up to {apart:.2%}" if apart else "the same bits"
            speed, size = _speed(forecaster, seen), file.stat().st_size / 1e3
            print(f"| {name} | {size:.0f} | {speed:.2f} | {losses[-1]:.3f} | {same} |", flush=True)
        print(f"\n{len(seen)} windows; int8 costs {losses[1] / losses[0] - 1:.2%} of pinball loss.")
    print(loads(load))


def _past() -> tuple[Windows, np.ndarray]:
    """The windows of every midnight since the model was fitted, and (B, H) what came."""
    pipeline = pipeline_file.read(PIPELINE)
    store, at, zone = open_store(pipeline.pipeline.store), pipeline.pipeline, pipeline.pipeline.timezone
    fitted, until = (clock.parse_time(day, zone) for day in (FITTED, ISSUE))
    days = [fitted + timedelta(days=day) for day in range((until - fitted).days)]
    issues = np.array([to_micros(day) for day in days])
    steps = np.array([pipeline.grid.first_step(int(issue)) for issue in issues])
    series = known_series(pipeline, store, until)
    first = int(steps[0]) - at.context
    panel = revision_panel(pipeline, store, series, until, first, int(steps[-1]) + at.horizon - first)
    rows, number = np.divmod(np.arange(len(series) * len(steps)), len(steps))
    seen = build_windows(pipeline.spec(series), panel, rows, steps[number], issues[number])
    return seen, panel.target.final(rows, steps[number] - first, at.horizon).astype(np.float64)


def _speed(forecaster: Forecaster, seen: Windows) -> float:
    """The least CPU seconds of 100,000 windows, of a few tries."""
    many = seen[np.arange(_WINDOWS) % len(seen)]
    night = replace(many, calendar=many.calendar[:1])
    spent = []
    for _ in range(_TRIES):
        started = time.process_time()
        forecaster.quantiles(night)
        spent.append(time.process_time() - started)
    return min(spent) * 100_000 / _WINDOWS


if __name__ == "__main__":
    main()
