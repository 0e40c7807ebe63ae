"""The forecaster: an ONNX file run by ONNX Runtime, in chunks, on a few threads. No torch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort

from model.distribution import probability_above, within
from model.spec import ModelSpec
from model.windows import Windows

logger = logging.getLogger(__name__)

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
SPEC_KEY = "gatecast.spec"
#: What a file gives, by its head: the distribution is of every member, and known to no bounds.
OUTPUTS = {"quantile": ("quantiles",), "softmax": ("quantiles", "edges", "probabilities")}
_ONLY_WHAT_IS_ASKED = ort.RunOptions()
_ONLY_WHAT_IS_ASKED.only_execute_path_to_fetches = True
_CHUNK = 256  # windows; fits the second-level cache, and is faster than one large batch


class Forecaster:
    """One session over one ONNX file.

    Args:
        onnx: the file's bytes.
        providers: names of PROVIDERS in order of wish; one that is not there is passed over, and said.
        threads: chunks computed at once, each on one thread. The result is the same for any number.

    Raises:
        ValueError: the bytes are not a model of Gatecast's.
    """

    def __init__(self, onnx: bytes, providers: tuple[str, ...] = ("cpu",), threads: int = 1) -> None:
        wished = [PROVIDERS[name] for name in providers]
        there = [name for name in wished if name in ort.get_available_providers()]
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            # The CPU stays at the end: it serves what another provider cannot.
            self._session = ort.InferenceSession(
                onnx, options, providers=list(dict.fromkeys([*there, PROVIDERS["cpu"]]))
            )
            self.spec = ModelSpec.from_json(self._session.get_modelmeta().custom_metadata_map[SPEC_KEY])
        except Exception as error:  # ONNX Runtime raises a class of its own for every fault
            raise ValueError(f"not a model of Gatecast's: {str(error).splitlines()[0]}") from None
        self.provider = self._session.get_providers()[0]
        if self.provider != wished[0]:
            # ONNX Runtime falls back without a word; a night that is ten times slower should have one.
            logger.warning("asked for %s first, but ONNX Runtime runs on %s", wished[0], self.provider)
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._outputs = {node.name for node in self._session.get_outputs()}
        self._threads = threads

    @property
    def tells_probabilities(self) -> bool:
        """Whether the file gives the distribution that `forecast` can be asked about."""
        return self._outputs.issuperset(OUTPUTS["softmax"])

    def quantiles(self, windows: Windows, in_time: Callable[[], bool] | None = None) -> np.ndarray:
        """(B, H, Q) of `forecast`."""
        return self.forecast(windows, (), in_time)[0]

    def forecast(
        self, windows: Windows, above: tuple[float, ...], in_time: Callable[[], bool] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is forecast for `windows`.

        Args:
            above: values x of which P(value > x) is asked; only a file that `tells_probabilities` may be.
            in_time: asked before each chunk; from the first False on, chunks are not run and their rows are NaN.

        Returns:
            Quantiles (B, H, Q), float64 in the target's unit, never crossing; a row is not finite where its input
            forbids. And P(value > x) (B, H, X), of the distribution that has these quantiles.
        """
        chunks = [windows[start : start + _CHUNK] for start in range(0, len(windows), _CHUNK)]
        if not chunks:
            return self._nothing(0, above)
        with ThreadPoolExecutor(self._threads) as pool:
            made = list(pool.map(lambda chunk: self._run(chunk, above, in_time), chunks))
        quantiles, probabilities = (np.concatenate(part).astype(np.float64) for part in zip(*made, strict=True))
        return quantiles, probabilities

    def _run(
        self, windows: Windows, above: tuple[float, ...], in_time: Callable[[], bool] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        spec, count = self.spec, len(windows)
        if in_time is not None and not in_time():
            return self._nothing(count, above)
        if spec.cell == "rnn" and count == 1:
            # A single row is multiplied by another routine with other last bits, in the operator RNN alone.
            windows = windows[np.zeros(2, int)]
        if not above:
            (quantiles,) = self.outputs(windows, ["quantiles"])
            return quantiles[:count], np.empty((count, spec.horizon, 0))
        quantiles, edges, shares = (part[:count] for part in self.outputs(windows, list(OUTPUTS["softmax"])))
        return quantiles, within(probability_above(edges, shares, above), above, spec.lower, spec.upper)

    def _nothing(self, count: int, above: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
        quantiles = np.full((count, self.spec.horizon, len(self.spec.levels)), np.nan)
        return quantiles, np.full((count, self.spec.horizon, len(above)), np.nan)

    def outputs(self, windows: Windows, names: list[str]) -> list[np.ndarray]:
        """The outputs of the graph called `names`, of all windows at once."""
        inputs = {name: array for name, array in windows.inputs().items() if name in self._inputs}
        if len(windows.calendar) != len(windows):
            # The graph wants a calendar a window; a chunk's worth of copies is small.
            inputs["calendar"] = np.repeat(windows.calendar, len(windows), axis=0)
        return self._session.run(names, inputs, _ONLY_WHAT_IS_ASKED)
