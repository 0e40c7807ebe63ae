"""Specification of a model. It is stored in the metadata of the ONNX file and is enough to build the model's inputs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from model.timegrid import TimeGrid

#: Entry of the series embedding for a series that the model was not trained on.
UNKNOWN = 0


@dataclass(frozen=True)
class ModelSpec:
    """Shape and meaning of a model's inputs and outputs.

    Attributes:
        frequency: Frequency of the grid, one of FREQUENCIES.
        timezone: IANA zone of the local day.
        holidays: Code of the holidays library, or None.
        horizon: Steps forecast.
        context: Steps that the model sees.
        season: Steps per season.
        segment: Steps per segment of the context.
        levels: Quantile levels, ascending.
        lower: Lower bound of the target, or None.
        upper: Upper bound of the target, or None.
        known_future: Names of the covariates known for the horizon.
        observed: Names of the covariates known for the past only.
        head: "quantile" or "softmax".
        cell: "lstm" or "rnn".
        hidden_size: Size of the recurrent state.
        layers: Number of recurrent layers.
        members: Number of ensemble members.
        day_start: Microseconds from local midnight to the start of a period of 1d.
        series: Series with an embedding of their own, by entry.
        grid_offset: Microseconds from a whole step of UTC to the start of a step of 15m, 30m or 1h.
        linear: Whether the file has a linear expert, whose forecast is the base that the network corrects.
    """

    frequency: str
    timezone: str
    holidays: str | None
    horizon: int
    context: int
    season: int
    segment: int
    levels: tuple[float, ...]
    lower: float | None
    upper: float | None
    known_future: tuple[str, ...]
    observed: tuple[str, ...]
    head: str
    cell: str
    hidden_size: int
    layers: int
    members: int
    day_start: int = 0
    series: tuple[str, ...] = ()
    grid_offset: int = 0
    linear: bool = False

    @property
    def grid(self) -> TimeGrid:
        """Grid of the model's steps."""
        return TimeGrid(self.frequency, self.timezone, self.holidays, self.day_start, self.grid_offset)

    @property
    def min_visible(self) -> int:
        """Number of visible target values that the model needs in a context. With fewer, the baseline forecasts.

        The number is half a season, or half a segment where the season is shorter. Fewer values give no reliable scale.
        """
        return max(1, min(self.context, max(self.season, self.segment)) // 2)

    @cached_property
    def entries(self) -> dict[str, int]:
        """Embedding entry by series that the model was trained on."""
        return {name: entry for entry, name in enumerate(self.series, start=UNKNOWN + 1)}

    def first_difference(self, other: ModelSpec) -> str | None:
        """Return the first difference because of which this model cannot serve a pipeline with spec `other`."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if field.name not in ("series", "members", "hidden_size", "layers", "linear") and mine != theirs:
                return f"{field.name} is {_text(mine)} in the model and {_text(theirs)} in the pipeline"
        return None

    def to_json(self) -> str:
        """Return the spec as text for the ONNX metadata."""
        content = asdict(self)
        # Files of earlier versions do not have these keys, and their text must stay equal.
        if not self.grid_offset:
            del content["grid_offset"]
        if not self.linear:
            del content["linear"]
        return json.dumps(content, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read a spec from the text of `to_json`."""
        content: dict[str, Any] = json.loads(text)
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        return cls(**arguments)


def segment_steps(frequency: str, context: int) -> int:
    """Return the steps of one segment: a day, or a week of daily steps, and at most the context."""
    return min(context, {"15m": 96, "30m": 48, "1h": 24, "1d": 7, "1b": 5}[frequency])


def _text(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
