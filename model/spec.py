"""What a model was built for: everything needed to feed it again, kept in the ONNX file's metadata."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from model.timegrid import TimeGrid

# Entry 0 of the series embedding: a series that the model was not trained on.
UNKNOWN = 0


@dataclass(frozen=True)
class ModelSpec:
    """The shape and the meaning of a model's inputs and outputs. Numbers of steps unless said otherwise."""

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
    day_start: int = 0  # microseconds after local midnight at which a period of 1d begins
    series: tuple[str, ...] = ()

    @property
    def grid(self) -> TimeGrid:
        """The grid on which the model's steps are counted."""
        return TimeGrid(self.frequency, self.timezone, self.holidays, self.day_start)

    @property
    def min_visible(self) -> int:
        """Visible target values a context needs before the model, not the baseline, forecasts it.

        Half of one season, or of one segment where the season is shorter: less is not enough to scale by.
        """
        return max(1, min(self.context, max(self.season, self.segment)) // 2)

    @cached_property
    def entries(self) -> dict[str, int]:
        """Entry of each series that the model was trained on in its embedding."""
        return {name: entry for entry, name in enumerate(self.series, start=UNKNOWN + 1)}

    def first_difference(self, other: ModelSpec) -> str | None:
        """The first thing in which a model of this spec cannot serve a pipeline that asks for `other`."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if field.name not in ("series", "members", "hidden_size", "layers") and mine != theirs:
                return f"{field.name} is {_short(mine)} in the model and {_short(theirs)} in the pipeline"
        return None

    def to_json(self) -> str:
        """The spec as text for the ONNX metadata."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """The spec back from `to_json`."""
        content: dict[str, Any] = json.loads(text)
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        return cls(**given)


def segment_steps(frequency: str, context: int) -> int:
    """Steps folded into one segment: a day, or a week of daily steps; never more than the context."""
    return min(context, {"15m": 96, "30m": 48, "1h": 24, "1d": 7, "1b": 5}[frequency])


def _short(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
