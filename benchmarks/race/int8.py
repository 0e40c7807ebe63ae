"""A model of the sample with 8-bit and with 32-bit weights: `python -m benchmarks.race.int8`. Prints Markdown.

The 8-bit model comes from ONNX Runtime's dynamic quantisation of matrix products and recurrent layers. Pinball is the
mean over all midnights of the three months after the fit. Speed is that of one thread, in chunks of the forecaster's
size.
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
from benchmarks.race.cost import load_note
from flows import clock
from flows.settings import file as pipeline_file
from flows.stages.panels import known_series, revision_panel, to_micros
from model.evaluation.metrics import pinball
from model.forecaster import Forecaster
from model.windows import Windows, build_windows
from storage.store import open_store

FITTED = "2018-06-01"
_WINDOWS = 10_000
_TRIES = 5


def main() -> None:
    """Measure both and print the table."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"GATECAST_PIPELINE__STORE": f"{scratch}/store", "GATECAST_TRAINING__BUDGET": "60s"}
        for command, day in (("ingest", ISSUE), ("train", FITTED)):
            subprocess.run([sys.executable, "-m", "flows", command, PIPELINE, "--as-of", day, "--quiet"], check=True)
        (original,) = Path(scratch).glob("store/models/*/*/model.onnx")
        quantised = Path(scratch) / "int8.onnx"
        # Only weights stored in the layout of the kernels are quantised, so fold constants first.
        folded = Path(scratch) / "folded.onnx"
        quant_pre_process(original, folded, skip_symbolic_shape=True)
        quantize_dynamic(folded, quantised, weight_type=QuantType.QInt8)
        windows, actual = _test_windows()
        print("| weights | file kB | CPU s of 100,000 windows | pinball | a window alone and in a batch |")
        print("|---|---:|---:|---:|---|")
        losses = []
        for name, file in (("float32", original), ("int8", quantised)):
            forecaster = Forecaster(file.read_bytes())
            batch = forecaster.quantiles(windows)
            losses.append(float(np.nanmean(pinball(batch, np.array(forecaster.spec.levels), actual))))
            alone = np.concatenate([forecaster.quantiles(windows[i : i + 1]) for i in range(len(windows))])
            difference = float((np.abs(alone - batch) / np.abs(batch)).max())
            equality = f"differ by up to {difference:.2%}" if difference else "the same bits"
            speed, size = _speed(forecaster, windows), file.stat().st_size / 1e3
            print(f"| {name} | {size:.0f} | {speed:.2f} | {losses[-1]:.3f} | {equality} |", flush=True)
        print(f"\n{len(windows)} windows. The pinball of int8 is {losses[1] / losses[0] - 1:.2%} higher.")
    print(load_note(load))


def _test_windows() -> tuple[Windows, np.ndarray]:
    """Return the B windows of every midnight since the fit, and the actuals, shape (B, H)."""
    settings = pipeline_file.read(PIPELINE)
    section = settings.pipeline
    store = open_store(section.store)
    fitted, until = (clock.parse_time(day, section.timezone) for day in (FITTED, ISSUE))
    days = [fitted + timedelta(days=day) for day in range((until - fitted).days)]
    issues = np.array([to_micros(day) for day in days])
    steps = np.array([settings.grid.first_step(int(issue)) for issue in issues])
    series = known_series(settings, store, until)
    first = int(steps[0]) - section.context
    panel = revision_panel(settings, store, series, until, first, int(steps[-1]) + section.horizon - first)
    rows, number = np.divmod(np.arange(len(series) * len(steps)), len(steps))
    windows = build_windows(settings.spec(series), panel, rows, steps[number], issues[number])
    return windows, panel.target.final(rows, steps[number] - first, section.horizon).astype(np.float64)


def _speed(forecaster: Forecaster, windows: Windows) -> float:
    """Return the CPU-seconds of 100,000 windows, the least of a few tries."""
    repeated = windows[np.arange(_WINDOWS) % len(windows)]
    one_issue = replace(repeated, calendar=repeated.calendar[:1])
    seconds = []
    for _ in range(_TRIES):
        started = time.process_time()
        forecaster.quantiles(one_issue)
        seconds.append(time.process_time() - started)
    return min(seconds) * 100_000 / _WINDOWS


if __name__ == "__main__":
    main()
