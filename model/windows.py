"""Model input windows, built by the same function for training and inference."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.panel import Channel, Panel
from model.spec import UNKNOWN, ModelSpec


@dataclass(frozen=True)
class Windows:
    """Inputs of the network for B windows, in the units of the feeds, NaN where a value was not visible.

    C and H are the steps of context and horizon, K and O the numbers of known_future and observed covariates.

    Attributes:
        target: Shape (B, C).
        known_future: Shape (B, C + H, K).
        observed: Shape (B, C, O).
        calendar: Shape (B, C + H, len(CALENDAR)), or (1, ...) if all windows have the same issue time.
        series: Entry of the series in the model's embedding, shape (B,). 0 is unknown.
    """

    target: NDArray[np.float32]
    known_future: NDArray[np.float32]
    observed: NDArray[np.float32]
    calendar: NDArray[np.float32]
    series: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Windows:
        calendar = self.calendar if len(self.calendar) == 1 else self.calendar[rows]
        return Windows(self.target[rows], self.known_future[rows], self.observed[rows], calendar, self.series[rows])

    def inputs(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by the names of the ONNX inputs."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def sha256(self) -> str:
        """Return a hash of all inputs."""
        digest = hashlib.sha256()
        for name, array in self.inputs().items():
            digest.update(f"{name}{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def build_windows(
    spec: ModelSpec, panel: Panel, rows: NDArray[np.int64], first_steps: NDArray[np.int64],
    issue_times: NDArray[np.int64],
) -> Windows:  # fmt: skip
    """Build windows from the values that were known at their issue times.

    Args:
        spec: Spec of the model.
        panel: Panel that covers all contexts and horizons.
        rows: Series of each window, shape (B,).
        first_steps: First step of each forecast, shape (B,). Steps are grid indices (`TimeGrid.index`), not columns of
            the panel.
        issue_times: Issue time of each window in microseconds since 1970-01-01 UTC, shape (B,).

    Raises:
        IndexError: The panel does not cover a window.
    """
    context, length = spec.context, spec.context + spec.horizon
    starts = first_steps - panel.first - context
    begin, end = (int(starts.min()), int(starts.max()) + length) if len(starts) else (0, length)
    if begin < 0 or end > panel.columns:
        raise IndexError(
            f"the panel covers steps {panel.first} to {panel.first + panel.columns - 1}, but the windows need "
            f"{panel.first + begin} to {panel.first + end - 1}"
        )

    def stack(channels: Iterable[Channel], length: int) -> NDArray[np.float32]:
        values = [channel.as_of(rows, starts, length, issue_times) for channel in channels]
        return np.stack(values, axis=2) if values else np.empty((len(rows), length, 0), np.float32)

    # All windows of one issue time cover the same steps and share one calendar.
    calendar_starts = starts[:1] if len(starts) and (starts == starts[0]).all() else starts
    calendars = np.lib.stride_tricks.sliding_window_view(panel.calendar, length, axis=0)
    return Windows(
        target=panel.target.as_of(rows, starts, context, issue_times),
        known_future=stack(panel.known_future, length),
        observed=stack(panel.observed, context),
        calendar=calendars[calendar_starts].swapaxes(1, 2),
        series=embedding_index(spec, panel.series)[rows],
    )


def has_enough_history(panel: Panel, context: int, end: int) -> NDArray[np.bool_]:
    """Return which series have enough history for an embedding of their own.

    A series needs as many observed values before step `end` as two contexts have steps, or half as many as the series
    with the most. With less, the embedding for unknown series forecasts better, because all series train it.

    Args:
        panel: S series on the pipeline's grid.
        context: Steps in the model's context.
        end: First grid index that is not history.

    Returns:
        Boolean array, one element per series, shape (S,).
    """
    rows = np.arange(len(panel.series))
    history = panel.target.final(rows, np.zeros_like(rows), max(0, end - panel.first))
    observed = (~np.isnan(history)).sum(axis=1)
    is_enough: NDArray[np.bool_] = (observed >= 2 * context) | (2 * observed >= observed.max(initial=0))
    return is_enough


def embedding_index(spec: ModelSpec, series: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the entry of each series in the model's embedding, shape (S,)."""
    return np.array([spec.entries.get(name, UNKNOWN) for name in series], np.int64)
