"""CUDA beside the CPU: `python -m benchmarks.cuda [RESULTS]`. Needs onnxruntime-gpu, a torch with CUDA, and a GPU.

Measures the equality of forecasts (parity), the speed of batch forecasts, and the speed and quality of fits. The data
are synthetic hours with two weeks of context, 24 hours of horizon and nine quantiles. The network is the default one:
hidden size 128, four members.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.first_light import processor
from model import forecaster
from model.evaluation.metrics import pinball
from model.forecaster import Forecaster
from model.onnx_runtime import ort
from model.panel import Channel, Panel, RevisionLayer
from model.spec import ModelSpec
from model.training.export import to_onnx
from model.training.fit import BATCH_SIZE, fit
from model.training.network import Ensemble
from model.training.options import EarlyStopping, FitOptions, TrainingData
from model.training.samples import LabeledWindows, build_sampler, make_batch
from model.windows import Windows

ROUNDS = 5
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SERIES, _DAYS, _HORIZON, _CONTEXT = 20, 120, 24, 336
_WINDOWS = 65_536
_CHUNKS = (128, 1024, 4096, 16_384)
#: Updates by hidden size.
_UPDATES = {128: 400, 512: 200}
_CUDA = "CUDAExecutionProvider"


def main() -> None:
    """Measure all and print the results as Markdown."""
    if not _has_cuda():
        sys.exit(f"Nothing is measured: {_CUDA} and a torch with a usable GPU are required.")
    versions = f"torch {torch.__version__}, ONNX Runtime {ort.__version__}, CUDA {torch.version.cuda}"
    parts = [
        "# CUDA beside the CPU\n",
        f"`python -m benchmarks.cuda`, on {torch.cuda.get_device_name()} and {os.cpu_count()} cores of {processor()};",
        f"{versions}. Synthetic hours; the default network. Medians of {ROUNDS} runs.\n",
    ]
    for part in (_parity, _speed, _training):
        text = part()
        print(text, flush=True)
        parts.append(text)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text("\n".join(parts))


def _has_cuda() -> bool:
    return _CUDA in ort.get_available_providers() and torch.cuda.is_available()


def _spec(head: str, cell: str = "lstm", hidden: int = 128, members: int = 4) -> ModelSpec:
    names = tuple(f"s{number:03}" for number in range(_SERIES))
    return ModelSpec(
        "1h", "UTC", None, _HORIZON, _CONTEXT, 168, 24, LEVELS, 0.0, None, ("temperature",), (), head, cell, hidden, 1,
        members, 0, names,
    )  # fmt: skip


def _data(spec: ModelSpec) -> TrainingData:
    """Return training windows, and the windows of the last 14 issue times."""
    random = np.random.default_rng(0)
    hours, first = np.arange(_DAYS * 24), 400_000
    temperature = 10 * np.sin(hours / 97) + random.normal(size=(_SERIES, len(hours)))
    shape = 300 * np.sin(2 * np.pi * hours / 24) + 100 * np.sin(2 * np.pi * hours / 168) + 20 * np.abs(temperature)
    target = (1000 + shape + 50 * random.normal(size=(_SERIES, len(hours)))).astype(np.float32)
    weather = Channel("temperature", (RevisionLayer(temperature.astype(np.float32), None),))
    panel = Panel(spec.grid, spec.series, first, Channel("y", (RevisionLayer(target, None),)), (weather,), ())
    issues = first + len(hours) - 24 * np.arange(1, 15)
    steps, rows = np.repeat(issues, _SERIES), np.tile(np.arange(_SERIES), len(issues))
    last = int(issues.min()) - _HORIZON
    validation = make_batch(spec, panel, rows, steps, panel.grid.start(steps))
    return TrainingData(build_sampler(spec, panel, last, 0, last), validation)


def _fitted(data: TrainingData, updates: int, device: str, threads: int = 2) -> tuple[Ensemble, float]:
    """Return a network after a number of updates per member, and the seconds of its fit."""
    never = EarlyStopping(every=50, patience=updates)
    options = FitOptions(7, max_updates=updates, full_stopping=never, device=device, threads=threads)
    started = time.perf_counter()
    network = fit(data, options)
    return network, time.perf_counter() - started


def _score(network: Ensemble, validation: LabeledWindows) -> float:
    quantiles = Forecaster(to_onnx(network), threads=os.cpu_count() or 1).quantiles(validation.windows)
    return float(np.nanmean(pinball(quantiles, np.array(LEVELS), validation.actual)))


def _parity() -> str:
    rows = ["## Parity\n", "Largest difference of a quantile from the CPU's, relative to the largest in its window.\n"]
    rows += ["| cell | head | float32 | TF32 (not used) |", "|---|---|---:|---:|"]
    for cell, head in itertools.product(("lstm", "rnn"), ("quantile", "softmax")):
        spec = _spec(head, cell)
        data = _data(spec)
        onnx = to_onnx(_fitted(data, 40, "cpu")[0])
        windows = data.validation.windows
        expected = Forecaster(onnx, threads=os.cpu_count() or 1).quantiles(windows)
        largest = np.abs(expected).max(axis=(1, 2), keepdims=True)
        errors = []
        for tf32 in ("0", "1"):
            forecaster._OPTIONS[_CUDA] = {"use_tf32": tf32}
            forecaster._session.cache_clear()
            quantiles = Forecaster(onnx, ("cuda",), strict=True).quantiles(windows)
            errors.append(float((np.abs(quantiles - expected) / largest).max()))
        rows.append(f"| {cell} | {head} | {errors[0]:.1e} | {errors[1]:.1e} |")
        forecaster._OPTIONS[_CUDA] = {"use_tf32": "0"}
        forecaster._session.cache_clear()
    return "\n".join(rows) + "\n"


def _speed() -> str:
    spec = _spec("quantile")
    data = _data(spec)
    onnx = to_onnx(_fitted(data, 20, "cpu")[0])
    windows = data.validation.windows[np.arange(_WINDOWS) % len(data.validation.windows)]
    few = windows[np.arange(4096)]
    cores = os.cpu_count() or 1
    rows = ["## Forecast\n", f"{_WINDOWS:,} windows in memory, through `Forecaster.quantiles`.\n"]
    rows += ["| | windows a second | |", "|---|---:|---:|"]
    speeds = {"CPU, one thread": _per_second(Forecaster(onnx), few)}
    speeds[f"CPU, {cores} threads"] = _per_second(Forecaster(onnx, threads=cores), windows)
    for chunk in _CHUNKS:
        forecaster._CHUNKS[_CUDA] = chunk
        speeds[f"CUDA, {chunk:,} at once"] = _per_second(Forecaster(onnx, ("cuda",), strict=True), windows)
    first = speeds["CPU, one thread"]
    rows += [f"| {name} | {speed:,.0f} | {speed / first:.1f} x |" for name, speed in speeds.items()]
    return "\n".join(rows) + "\n"


def _per_second(model: Forecaster, windows: Windows) -> float:
    return len(windows) / _median_seconds(lambda: model.quantiles(windows))


def _median_seconds(call: Callable[[], object]) -> float:
    """Return the median seconds of a call, after one call to warm up."""
    call()
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _training() -> str:
    rows = ["## Training\n", f"One member, {BATCH_SIZE} windows per update, with its pinball on later issue times."]
    rows += ["\n| | hidden size | updates a second | | pinball |", "|---|---:|---:|---:|---:|"]
    for hidden, updates in _UPDATES.items():
        first = None
        spec = _spec("quantile", hidden=hidden, members=1)
        data = _data(spec)
        for name, device, threads in (
            ("CPU, one thread", "cpu", 1),
            ("CPU, two threads", "cpu", 2),
            ("CUDA", "cuda", 1),
        ):
            _fitted(data, 10, device, threads)
            network, seconds = _fitted(data, updates, device, threads)
            score = _score(network, data.validation)
            first = first or seconds
            rows.append(f"| {name} | {hidden} | {updates / seconds:.1f} | {first / seconds:.1f} x | {score:.3f} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
