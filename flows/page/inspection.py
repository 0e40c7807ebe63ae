"""The record of one inspected forecast: the content of an inspection page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from flows.page.local_time import instant_from_micros
from flows.settings.pipeline import Pipeline
from model.linear_contributions import Floats, LinearContributions
from model.occlusion import OcclusionEffects
from model.recurrent import RecurrentLayer
from model.spec import ModelSpec
from model.windows import Windows
from storage.schemas.records import Manifest


@dataclass(frozen=True)
class Inspection:
    """One forecast of one series, with the model's inputs, states and sensitivities.

    H is the horizon and Q the number of quantile levels.

    Attributes:
        settings: Settings of the pipeline.
        series_id: Series that is forecast.
        issue_time: Issue time of the forecast.
        made_at: Time at which the page is made. `actuals` are as known at this time.
        spec: Specification of the model.
        manifest: Manifest of the model that made the forecast, or that serves its issue time.
        first_step: Step number of the first period of the horizon.
        window: Model input, one window.
        quantiles: Forecast in the target's unit, shape (H, Q).
        actuals: Target values of the horizon, shape (H,). NaN where none is known.
        layers: States of the recurrent layers on this window.
        effects: Changes of the median when parts of the window are hidden.
        responses: Change of the median if a known_future covariate is higher by 1 over the horizon, (H,) by name.
        linear: Contributions to the linear expert's forecast, None for a model without one.
        notes: Differences between this forecast and the published one.
    """

    settings: Pipeline
    series_id: str
    issue_time: datetime
    made_at: datetime
    spec: ModelSpec
    manifest: Manifest
    first_step: int
    window: Windows
    quantiles: np.ndarray
    actuals: np.ndarray
    layers: tuple[RecurrentLayer, ...]
    effects: OcclusionEffects
    responses: dict[str, Floats]
    linear: LinearContributions | None
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The target's unit for display."""
        return self.settings.unit or "the target's unit"

    def period_starts(self, steps: np.ndarray) -> list[datetime]:
        """Return the start times of the periods at `steps`, where 0 is the first period of the horizon."""
        return [instant_from_micros(int(start)) for start in self.settings.grid.start(self.first_step + steps)]
