"""Windows: what a model may see at an issue time. One function builds them for training and for inference."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from model.panel import Panel
from model.spec import UNKNOWN, ModelSpec


@dataclass(frozen=True)
class Windows:
    """The inputs of the network, raw: physical units, NaN where a value was not visible. C context, H horizon.

    Attributes:
        target: (B, C) float32.
        known_future: (B, C + H, K) float32.
        observed: (B, C, O) float32.
        calendar: (B or 1, C + H, len(CALENDAR)) float32; 1 when all windows have one issue time.
        series: (B,) int64, entry of the series in the model's embedding; 0 is unknown.
    """

    target: np.ndarray
    known_future: np.ndarray
    observed: np.ndarray
    calendar: np.ndarray
    series: np.ndarray

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, part: slice | np.ndarray) -> Windows:
        calendar = self.calendar if len(self.calendar) == 1 else self.calendar[part]
        return Windows(self.target[part], self.known_future[part], self.observed[part], calendar, self.series[part])

    def inputs(self) -> dict[str, np.ndarray]:
        """By the names of the ONNX inputs."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def sha256(self) -> str:
        """Hash of all that the model sees."""
        digest = hashlib.sha256()
        for name, array in self.inputs().items():
            digest.update(f"{name}{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def build_windows(spec: ModelSpec, panel: Panel, rows: np.ndarray, steps: np.ndarray, issues: np.ndarray) -> Windows:
    """The windows of series `rows` (B,) whose first step forecast is `steps` (B,), as of `issues` (B,) in us.

    Columns before the panel's first are the caller's error (IndexError): the panel must cover every context.
    """
    context, length = spec.context, spec.context + spec.horizon
    starts = steps - panel.first - context
    if starts.min(initial=0) < 0 or starts.max(initial=0) + length > panel.columns:
        raise IndexError("the panel does not cover the windows")

    def stack(channels, length: int) -> np.ndarray:
        parts = [channel.as_of(rows, starts, length, issues) for channel in channels]
        return np.stack(parts, axis=2) if parts else np.empty((len(rows), length, 0), np.float32)

    # All windows of a night look at the same days: one calendar serves them.
    days = starts[:1] if len(starts) and (starts == starts[0]).all() else starts
    calendar = np.lib.stride_tricks.sliding_window_view(panel.calendar, length, axis=0)[days].swapaxes(1, 2)
    return Windows(
        target=panel.target.as_of(rows, starts, context, issues),
        known_future=stack(panel.known_future, length),
        observed=stack(panel.observed, context),
        calendar=calendar,
        series=embedding_index(spec, panel.series)[rows],
    )


def has_enough_history(panel: Panel, context: int, end: int) -> np.ndarray:
    """(S,) whether a series has enough of a past before step `end` for a model to learn an identity of its own.

    New is what shows less than two contexts and less than half of what another series shows: an identity learned from
    so little, or never, forecasts it worse than the unknown one, which is learned from all the others.
    """
    every = np.arange(len(panel.series))
    past = panel.target.final(every, np.zeros_like(every), max(0, end - panel.first))
    seen = (~np.isnan(past)).sum(axis=1)
    return (seen >= 2 * context) | (2 * seen >= seen.max(initial=0))


def embedding_index(spec: ModelSpec, series: tuple[str, ...]) -> np.ndarray:
    """(S,) int64: entry of each series in the embedding of a model of `spec`."""
    return np.array([spec.entries.get(name, UNKNOWN) for name in series], np.int64)
