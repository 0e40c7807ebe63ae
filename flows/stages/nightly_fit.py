"""Fit of the linear expert for one issue time, on all data that were available by then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial

import numpy as np

from flows.settings.pipeline import Pipeline
from flows.stages.advisory_steps import AdvisorySteps
from flows.stages.loaded_models import LoadedModel
from flows.stages.panels import revision_panel, to_micros
from flows.stages.training_data import crop_to_values, past_issue_times, without_implausible_newest
from model.forecaster import Forecaster
from model.linear_refit import LinearRefit, refit_linear
from model.panel import Panel
from storage.store import Store

_LONGEST = timedelta(days=8 * 365)  # history of a fit, which bounds its memory


@dataclass(frozen=True)
class NightlyFit:
    """Fit of the linear expert of some series at one issue time. The history is read when a model needs it.

    Attributes:
        settings: Settings of the pipeline.
        store: Store with the history.
        series: Series ids, sorted.
        issue_time: Issue time of the forecast.
        has_time: Function that returns False once no time is left for a fit.
        digests: sha256 of the tables of each series that was fitted, by name.
        steps: Steps that may fail. Without the fit, a model keeps the tables of its file.
    """

    settings: Pipeline
    store: Store
    series: tuple[str, ...]
    issue_time: datetime
    has_time: Callable[[], bool]
    digests: dict[str, bytes] = field(default_factory=dict)
    steps: AdvisorySteps = field(default_factory=AdvisorySteps)

    def apply(self, model: LoadedModel) -> Forecaster:
        """Return the forecaster of `model` with tables of this issue time, or as it is if it has no linear expert.

        The hashes of the new tables are kept in `digests`, because a forecast depends on them like on its window.
        """
        if not model.forecaster.spec.linear or not self.has_time():
            return model.forecaster
        # An older part of the history may be damaged that the context does not need.
        refit = self.steps.run("linear expert", partial(self._refit, model.forecaster), None)
        if refit is None:
            return model.forecaster
        self.digests.update(refit.digests)
        return model.forecaster.with_tables(refit.tables)

    def _refit(self, forecaster: Forecaster) -> LinearRefit | None:
        panel, spec = self._panel, forecaster.spec
        last = panel.first + panel.columns - spec.horizon - 1
        issue_times = past_issue_times(self.settings, panel, spec, self.issue_time, last)
        return refit_linear(forecaster, panel, issue_times, to_micros(self.issue_time), self.has_time)

    @cached_property
    def _panel(self) -> Panel:
        """All revisions within the training window, from the first value to the end of the horizon."""
        settings, issue_time = self.settings, self.issue_time
        first = settings.grid.first_step(to_micros(issue_time))
        window = min(settings.training.window or _LONGEST, _LONGEST)
        start = int(settings.grid.index(np.array([to_micros(issue_time - window)]))[0])
        columns = first - start + settings.pipeline.horizon
        panel = revision_panel(settings, self.store, self.series, issue_time, start, columns)
        return without_implausible_newest(crop_to_values(panel))
