"""The forecaster: an ONNX file run by ONNX Runtime, in chunks, on a few threads. No torch."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from functools import lru_cache

import numpy as np
import onnxruntime as ort

from model.distribution import clip_probability, probability_above
from model.spec import ModelSpec
from model.windows import Windows

logger = logging.getLogger(__name__)

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
SPEC_KEY = "gatecast.spec"
CHUNK = 128  # windows: fits the second-level cache, measured in benchmarks/results/race.md
_CHUNKS = {"CUDAExecutionProvider": 4096}  # benchmarks/results/cuda.md
# Products in TF32 are off by a thousandth.
_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}
_SESSIONS = 4  # kept by a process: champion and predecessor, and those that a promotion replaced
#: What a file gives, by its head: the distribution is of every member, and known to no bounds.
OUTPUTS = {"quantile": ("quantiles",), "softmax": ("quantiles", "edges", "probabilities")}
_ONLY_WHAT_IS_ASKED = ort.RunOptions()
_ONLY_WHAT_IS_ASKED.only_execute_path_to_fetches = True


class Forecaster:
    """One ONNX file, run by the one session over it that the process has.

    Args:
        onnx: the file's bytes.
        providers: names of PROVIDERS in order of wish; one that is not there is passed over, and said.
        threads: chunks computed at once, each on one thread. The result is the same for any number.
        strict: refuse to run on another provider than the first.

    Attributes:
        provider: ONNX Runtime's name of what it runs on.
        provider_warning: one sentence where that is not what was wished for first, else None.

    Raises:
        ValueError: the bytes are not a model of Gatecast's, or, if `strict`, the provider is not there.
    """

    def __init__(
        self, onnx: bytes, providers: tuple[str, ...] = ("cpu",), threads: int = 1, strict: bool = False
    ) -> None:
        self._session, self.spec = _session(onnx, providers)
        self.provider = self._session.get_providers()[0]
        wished = PROVIDERS[providers[0]]
        # ONNX Runtime falls back without a word; a night that is ten times slower should have one.
        fallen = self.provider != wished
        warning = f"the first provider is {wished}, but ONNX Runtime runs on {self.provider}"
        self.provider_warning = warning if fallen else None
        if fallen and strict:
            raise ValueError(f"{self.provider_warning}; install that provider, or set [forecast] strict = false")
        if fallen:
            logger.warning("%s", self.provider_warning)
        inputs = {node.name: node.shape for node in self._session.get_inputs()}
        self._inputs = inputs.keys()
        # Files from before one calendar could serve all windows want one for each.
        self._one_calendar = inputs["calendar"][0] != inputs["target"][0]
        self._outputs = {node.name for node in self._session.get_outputs()}
        # A GPU computes one chunk at a time as fast as several.
        self._threads = 1 if self.provider in _CHUNKS else threads

    @property
    def has_probabilities(self) -> bool:
        """Whether the file gives the distribution that `forecast` can be asked about."""
        return self._outputs.issuperset(OUTPUTS["softmax"])

    def quantiles(self, windows: Windows, in_time: Callable[[], bool] | None = None) -> np.ndarray:
        """(B, H, Q) of `forecast`."""
        return self.forecast(windows, (), in_time)

    def forecast(
        self, windows: Windows, above: tuple[float, ...], in_time: Callable[[], bool] | None = None
    ) -> np.ndarray:
        """What is forecast for `windows`, column by column in memory, as the forecast file has it.

        Args:
            above: X values x of which P(value > x) is asked; only a file that `tells_probabilities` may be.
            in_time: asked before each chunk; from the first False on, chunks are not run and their rows are NaN.

        Returns:
            (B, H, Q + X) float64: quantiles in the target's unit, never crossing, not finite in a row whose input
            forbids it; then P(value > x) of the distribution that has these quantiles.
        """
        spec, levels = self.spec, len(self.spec.levels)
        out = np.empty((levels + len(above), len(windows), spec.horizon))
        wanted = list(OUTPUTS["softmax"]) if above else ["quantiles"]
        size = _CHUNKS.get(self.provider, CHUNK)

        def run(start: int) -> None:
            part = slice(start, start + size)
            chunk, rows = windows[part], out[:, part]
            if in_time is not None and not in_time():
                rows[:] = np.nan
                return
            if spec.cell == "rnn" and len(chunk) == 1:
                # A single row is multiplied by another routine with other last bits, in the operator RNN alone.
                chunk = chunk[np.zeros(2, int)]
            found = [part[: rows.shape[1]] for part in self.outputs(chunk, wanted)]
            rows[:levels] = found[0].transpose(2, 0, 1)
            if above:
                told = probability_above(found[1], found[2], above)
                rows[levels:] = clip_probability(told, above, spec.lower, spec.upper).transpose(2, 0, 1)

        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(run, range(0, len(windows), size)):
                pass
        return out.transpose(1, 2, 0)

    def outputs(self, windows: Windows, names: list[str]) -> list[np.ndarray]:
        """The outputs of the graph called `names`, of all windows at once."""
        inputs = {name: array for name, array in windows.inputs().items() if name in self._inputs}
        if len(windows.calendar) < len(windows) and not self._one_calendar:
            inputs["calendar"] = np.repeat(windows.calendar, len(windows), axis=0)
        return self._session.run(names, inputs, _ONLY_WHAT_IS_ASKED)


@lru_cache(_SESSIONS)
def _session(onnx: bytes, providers: tuple[str, ...]) -> tuple[ort.InferenceSession, ModelSpec]:
    wished = [PROVIDERS[name] for name in providers]
    there = [name for name in wished if name in ort.get_available_providers()]
    if PROVIDERS["cuda"] in there:
        _load_cuda()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        # The CPU stays at the end: it serves what another provider cannot.
        order = list(dict.fromkeys([*there, PROVIDERS["cpu"]]))
        session = ort.InferenceSession(onnx, options, providers=[(name, _OPTIONS.get(name, {})) for name in order])
        return session, ModelSpec.from_json(session.get_modelmeta().custom_metadata_map[SPEC_KEY])
    except Exception as error:  # ONNX Runtime raises a class of its own for every fault
        raise ValueError(f"not a model of Gatecast's: {str(error).splitlines()[0]}") from None


@lru_cache(1)
def _load_cuda() -> None:
    """Load the libraries of CUDA that came as Python packages: the loader of the system does not look for them there,
    and without them ONNX Runtime falls back to the CPU.
    """
    with redirect_stdout(io.StringIO()) as said:  # where it tells what is not there
        ort.preload_dlls()
    if said.getvalue():
        logger.debug("%s", said.getvalue())
