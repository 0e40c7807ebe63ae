"""Forecasts of an ONNX file by ONNX Runtime, in chunks on a few threads, without torch."""

from __future__ import annotations

import copy
import io
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.distribution import clip_probability, probability_above
from model.external_data import names_external_data
from model.linear_expert import LINEAR_TABLES, TABLE_OUTPUTS
from model.onnx_runtime import ort
from model.partial_graph import keep_outputs
from model.spec import ModelSpec
from model.windows import Windows

logger = logging.getLogger(__name__)

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
SPEC_KEY = "gatecast.spec"
CHUNK = 128  # Windows that fit into the second-level cache (benchmarks/results/race.md).
_CHUNKS = {"CUDAExecutionProvider": 4096}  # benchmarks/results/cuda.md
# Products in TF32 have errors of a thousandth.
_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}
# A process keeps champion and predecessor, and those that a promotion replaced.
_MOST_SESSIONS = 4
#: Outputs of a file by its head. Edges and probabilities are those of every member, without bounds.
OUTPUTS = {"quantile": ("quantiles",), "softmax": ("quantiles", "edges", "probabilities")}
_DESIGN = ("linear_design", "linear_window")
#: Tables of the linear expert, by the name of the file's input.
Tables = dict[str, NDArray[np.float32]]
_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
_POLL = 0.2  # seconds between two looks at the time left, while a chunk is computed


class Forecaster:
    """One ONNX file with its session. Forecasters of the same bytes share one session per process.

    Args:
        onnx: Bytes of the file.
        providers: Names of PROVIDERS by preference. Unavailable ones are skipped with a warning.
        threads: Number of chunks computed at the same time, each on one thread. It does not change the result.
        strict: Refuse to run on another provider than the first.

    Attributes:
        spec: Spec of the model.
        provider: ONNX Runtime's name of the provider in use.
        provider_warning: A sentence if the provider in use is not the first one, else None.

    Raises:
        ValueError: The bytes are not a Gatecast model, or `strict` is set and the first provider is unavailable.
    """

    def __init__(
        self, onnx: bytes, providers: tuple[str, ...] = ("cpu",), threads: int = 1, strict: bool = False
    ) -> None:
        self._onnx, self._providers = onnx, providers
        self._session, self.spec = _session(onnx, providers)
        self.provider: str = self._session.get_providers()[0]
        self.provider_warning: str | None = None
        first = PROVIDERS[providers[0]]
        # ONNX Runtime falls back silently, but a run that is ten times slower needs a warning.
        if self.provider != first:
            self.provider_warning = f"the first provider is {first}, but ONNX Runtime runs on {self.provider}"
            if strict:
                raise ValueError(f"{self.provider_warning}; install that provider, or set [forecast] strict = false")
            logger.warning("%s", self.provider_warning)
        inputs = {node.name: node.shape for node in self._session.get_inputs()}
        self._inputs = inputs.keys()
        # Files of earlier versions need one calendar per window.
        self._takes_one_calendar = inputs["calendar"][0] != inputs["target"][0]
        self._outputs = {node.name for node in self._session.get_outputs()}
        self._tables: Tables = {}
        # A GPU computes one chunk at a time as fast as several.
        self._threads = 1 if self.provider in _CHUNKS else threads

    @property
    def has_probabilities(self) -> bool:
        """True if the file has the distribution that exceedance probabilities need."""
        return self._outputs.issuperset(OUTPUTS["softmax"])

    def tables(self, has_time: Callable[[], bool] | None = None) -> Tables:
        """Return the tables of the linear expert that this forecaster uses, empty if its file has no expert.

        Args:
            has_time: Function that returns False once the computation must end, with an error of ONNX Runtime.
        """
        if self._tables or not self.spec.linear:
            return self._tables
        # These outputs depend on no window, but ONNX Runtime aborts at a batch without rows.
        inputs = {
            node.name: np.zeros([1 if isinstance(size, str) else size for size in node.shape], _TYPES[node.type])
            for node in self._session.get_inputs()
            if node.name not in LINEAR_TABLES.values()
        }
        with _run_options(has_time) as options:
            values = self._session.run(list(TABLE_OUTPUTS.values()), inputs, options)
        return dict(zip(LINEAR_TABLES.values(), values, strict=True))

    def with_tables(self, tables: Tables) -> Forecaster:
        """Return a forecaster of the same session that uses other tables of the linear expert."""
        other = copy.copy(self)
        other._tables = tables
        return other

    def quantiles(self, windows: Windows, has_time: Callable[[], bool] | None = None) -> NDArray[np.float64]:
        """Return the quantiles of `forecast`, shape (B, H, Q)."""
        return self.forecast(windows, (), has_time)

    def forecast(
        self, windows: Windows, thresholds: tuple[float, ...], has_time: Callable[[], bool] | None = None
    ) -> NDArray[np.float64]:
        """Forecast windows.

        Args:
            windows: B windows.
            thresholds: X values x for which to compute P(value > x). Only for files that have probabilities.
            has_time: Function that returns whether there is time left. From the first False on, chunks do not run,
                those that run end, and their rows are NaN.

        Returns:
            Array of shape (B, H, Q + X). First come the quantiles in the target's unit, never crossing. They are not
            finite in a row whose input forbids a forecast. Then come P(value > x) of the distribution with these
            quantiles. The memory order is by column, like the forecast file.
        """
        spec, levels = self.spec, len(self.spec.levels)
        columns = np.empty((levels + len(thresholds), len(windows), spec.horizon))
        names = list(OUTPUTS["softmax"]) if thresholds else ["quantiles"]
        size = _CHUNKS.get(self.provider, CHUNK)

        def run(start: int) -> None:
            rows = slice(start, start + size)
            chunk, result = windows[rows], columns[:, rows]
            if has_time is not None and not has_time():
                result[:] = np.nan
                return
            if spec.cell == "rnn" and len(chunk) == 1:
                # The RNN operator multiplies a single row by another routine, with other last bits. So send it twice.
                chunk = chunk[np.zeros(2, int)]
            try:
                outputs = [output[: result.shape[1]] for output in self.outputs(chunk, names, options)]
            except Exception:  # ONNX Runtime has no class of its own for a run that was ended
                if not options.terminate:
                    raise
                result[:] = np.nan
                return
            result[:levels] = outputs[0].transpose(2, 0, 1)
            if thresholds:
                probability = probability_above(outputs[1], outputs[2], thresholds)
                clipped = clip_probability(probability, thresholds, spec.lower, spec.upper)
                result[levels:] = clipped.transpose(2, 0, 1)

        with _run_options(has_time) as options, ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(run, range(0, len(windows), size)):
                pass
        return columns.transpose(1, 2, 0)

    def outputs(
        self, windows: Windows, names: list[str], options: ort.RunOptions | None = None
    ) -> list[NDArray[np.float32]]:
        """Return outputs of the graph by name, for all windows at once.

        Raises:
            ValueError: The quantiles have another shape than the spec of the file says.
        """
        outputs: list[NDArray[np.float32]] = self._session.run(
            names, {**self._window_inputs(windows), **self._tables}, options
        )
        for name, output in zip(names, outputs, strict=True):
            # NumPy would repeat an output of a single row, step or level without an error.
            shape = (len(windows), self.spec.horizon, len(self.spec.levels))
            if name == "quantiles" and output.shape != shape:
                raise ValueError(f"its quantiles have the shape {output.shape} instead of {shape}")
        return outputs

    def design(self, windows: Windows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return design (B, G, F), and location and scale (B, 2), of the linear expert in its file."""
        session = _design_session(self._onnx, self._providers)
        needed = {node.name for node in session.get_inputs()}
        inputs = {**self._window_inputs(windows), **self._tables}
        design, window = session.run(_DESIGN, {name: array for name, array in inputs.items() if name in needed})
        return design, window

    def _window_inputs(self, windows: Windows) -> dict[str, NDArray[Any]]:
        """Return the arrays of the windows that the graph has inputs for, by name."""
        inputs = {name: array for name, array in windows.inputs().items() if name in self._inputs}
        if len(windows.calendar) < len(windows) and not self._takes_one_calendar:
            inputs["calendar"] = np.repeat(windows.calendar, len(windows), axis=0)
        return inputs


@contextmanager
def _run_options(has_time: Callable[[], bool] | None) -> Iterator[ort.RunOptions]:
    """Yield options for runs that end soon after `has_time` returns False.

    ONNX Runtime looks at them before each node. A single node that does not end needs the end of its process.
    """
    options, is_over = ort.RunOptions(), threading.Event()

    def watch(has_time: Callable[[], bool]) -> None:
        while not is_over.wait(_POLL):
            if not has_time():
                options.terminate = True
                return

    if has_time is not None:
        threading.Thread(target=watch, args=(has_time,), daemon=True).start()
    try:
        yield options
    finally:
        is_over.set()


@lru_cache(_MOST_SESSIONS)
def _session(onnx: bytes, providers: tuple[str, ...]) -> tuple[ort.InferenceSession, ModelSpec]:
    """Return a session on the first available provider, and the spec in the file's metadata."""
    try:
        if names_external_data(onnx):
            # The hash in the manifest is that of this file alone.
            raise ValueError("it refers to data outside the file, which no hash covers; export it as one file")
        session = _open_session(onnx, providers)
        spec = ModelSpec.from_json(session.get_modelmeta().custom_metadata_map[SPEC_KEY])
        _check_output(session, spec)
        return session, spec
    except Exception as error:  # ONNX Runtime has a class of its own for every fault.
        raise ValueError(f"not a Gatecast model: {str(error).splitlines()[0]}") from None


@lru_cache(_MOST_SESSIONS)
def _design_session(onnx: bytes, providers: tuple[str, ...]) -> ort.InferenceSession:
    """Return a session of the nodes that compute the design alone."""
    return _open_session(keep_outputs(onnx, _DESIGN), providers)


def _open_session(onnx: bytes, providers: tuple[str, ...]) -> ort.InferenceSession:
    preferred = [PROVIDERS[name] for name in providers]
    available = [name for name in preferred if name in ort.get_available_providers()]
    if PROVIDERS["cuda"] in available:
        _load_cuda()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The CPU comes last. It runs the operators that another provider lacks.
    order = list(dict.fromkeys([*available, PROVIDERS["cpu"]]))
    return ort.InferenceSession(onnx, options, providers=[(name, _OPTIONS.get(name, {})) for name in order])


def _check_output(session: ort.InferenceSession, spec: ModelSpec) -> None:
    """Raise ValueError if the declared shape or type of the quantiles contradicts the spec. A name means any size."""
    outputs = {node.name: node for node in session.get_outputs()}
    quantiles, expected = outputs.get("quantiles"), (None, spec.horizon, len(spec.levels))
    if quantiles is None:
        raise ValueError(f"it has no output 'quantiles', but {', '.join(outputs)}")
    declared = quantiles.shape
    fits = len(declared) == len(expected) and all(
        not isinstance(size, int) or wanted is None or size == wanted
        for size, wanted in zip(declared, expected, strict=True)
    )
    if not fits:
        raise ValueError(f"its quantiles have the shape {declared} instead of windows, {expected[1]}, {expected[2]}")
    if quantiles.type != "tensor(float)":
        raise ValueError(f"its quantiles have the type {quantiles.type} instead of tensor(float)")


@lru_cache(1)
def _load_cuda() -> None:
    """Load the CUDA libraries that were installed as Python packages.

    The system's loader does not search there, and without these libraries ONNX Runtime falls back to the CPU.
    """
    with redirect_stdout(io.StringIO()) as output:  # ONNX Runtime prints which libraries are missing.
        ort.preload_dlls()
    if output.getvalue():
        logger.debug("%s", output.getvalue())
