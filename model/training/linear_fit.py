"""Fit of the linear expert on training windows: scaling, penalty, coefficients, and those without each fold.

The network must correct forecasts that the expert makes of data it was not fitted on, as at night. So a training window
uses the coefficients that were fitted without the window's fold (stacking: Wolpert 1992).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.linear_expert import FOLDS, MIN_WINDOWS, LinearFit, fit_scaled, residual_quantiles, with_context
from model.panel import Panel
from model.ridge import Floats
from model.spec import UNKNOWN, ModelSpec
from model.training.devices import to_tensors
from model.training.linear_features import TARGET_SCALING, LinearExpert
from model.training.network import CovariateStatistics
from model.training.samples import LabeledWindows, make_batch
from model.training.statistics import covariate_statistics
from model.windows import embedding_index

#: Penalties that are compared, from the middle one outwards while the error falls.
_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
_BATCH = 512
#: Scalings that are compared: fixed location and scale or those of the window, without and with asinh.
_SCALINGS = ((True, False), (True, True), (False, False), (False, True))


@dataclass(frozen=True)
class FittedLinear:
    """A fitted linear expert, and the tables by which it forecasts training windows out of sample.

    Attributes:
        expert: Expert with the tables for new windows.
        steps: First steps of the windows that it was fitted on, ascending, (N,).
        fold_coefficients: Tables without each fold, ((series + 1) * folds, H, F + 1).
    """

    expert: LinearExpert
    steps: NDArray[np.int64]
    fold_coefficients: torch.Tensor

    def left_out_tables(self, series: torch.Tensor, steps: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        """Return coefficients (B, H, F + 1) and scaling (B, 4 + 2K + 2O) that do not know the windows' own fold.

        Args:
            series: Entries in the series embedding, (B,).
            steps: First steps of the windows, (B,).
        """
        position = np.searchsorted(self.steps, steps).clip(max=len(self.steps) - 1)
        fold = torch.from_numpy(position * FOLDS // len(self.steps))
        coefficients = self.fold_coefficients[series * FOLDS + fold]
        return {"coefficients": coefficients, "scaling": self.expert.scaling[series]}


def fit_linear_expert(
    spec: ModelSpec, panel: Panel, steps: NDArray[np.int64], issues: NDArray[np.int64]
) -> FittedLinear:
    """Fit the expert of each series on the windows at past issue times.

    Args:
        spec: Spec of the model.
        panel: Series with all revisions.
        steps: First steps of the forecasts at past issue times, ascending, (N,).
        issues: Their issue times in microseconds, (N,).
    """
    rows = np.arange(len(panel.series))
    thinned = slice(None, None, max(1, len(steps) * len(rows) // 4096))
    every = (
        np.repeat(rows, len(steps))[thinned],
        np.tile(steps, len(rows))[thinned],
        np.tile(issues, len(rows))[thinned],
    )
    expert = LinearExpert(spec).eval()
    folds = torch.zeros(len(expert.coefficients), FOLDS, *expert.coefficients.shape[1:])
    # The entry of unknown series is fitted on all series together, in the location and spread of each window.
    shared = _fit_sample(expert, make_batch(spec, panel, *every), (_SCALINGS[-2],), is_ordered=False)
    _write_row(expert, folds, np.arange(len(expert.coefficients)), shared)
    for row, entry in zip(rows, embedding_index(spec, panel.series), strict=True):
        sample = make_batch(spec, panel, np.full(len(steps), row), steps, issues)
        if entry != UNKNOWN and np.isfinite(sample.actual).all(axis=1).sum() >= MIN_WINDOWS:
            _write_row(expert, folds, np.array([entry]), _fit_sample(expert, sample, _SCALINGS, is_ordered=True))
    return FittedLinear(expert, steps, folds.flatten(0, 1))


@dataclass(frozen=True)
class _SampleFit:
    """Fit of one sample of windows.

    Attributes:
        fit: Coefficients with and without each fold.
        scaling: Row of the table `scaling`, (4 + 2K + 2O,).
        residuals: Residuals in scales of the newest windows, forecast from older ones, (N, H). Of windows of several
            series they are left-out residuals.
        loss: Mean absolute left-out residual in the target's unit.
    """

    fit: LinearFit
    scaling: torch.Tensor
    residuals: Floats
    loss: float


@dataclass(frozen=True)
class _Design:
    """Design of a sample of windows in one scaling.

    Attributes:
        scaling: Row of the table `scaling`, without the penalty, (4 + 2K + 2O,).
        features: Features of each block, (N, G, F).
        window: Location and scale of each window, (N, 2).
        length: Steps per block.
    """

    scaling: torch.Tensor
    features: NDArray[np.float32]
    window: Floats
    length: int


def _write_row(expert: LinearExpert, folds: torch.Tensor, entries: NDArray[np.int64], sample: _SampleFit) -> None:
    expert.coefficients[entries] = torch.from_numpy(sample.fit.coefficients).float()
    expert.scaling[entries] = sample.scaling
    expert.residuals[entries] = torch.from_numpy(residual_quantiles(sample.residuals, expert.spec.levels)).float()
    folds[entries] = torch.from_numpy(sample.fit.parts).float()


def _fit_sample(
    expert: LinearExpert, sample: LabeledWindows, scalings: tuple[tuple[bool, bool], ...], is_ordered: bool
) -> _SampleFit:
    """Fit with the scaling, then with the penalty, that have the smallest left-out absolute error.

    Args:
        expert: The expert, for its features.
        sample: Windows to fit on.
        scalings: Scalings to compare.
        is_ordered: Whether the windows are of one series, oldest first.
    """
    statistics = covariate_statistics(sample.windows)
    rows = [_scaling(sample.actual, *choice, statistics) for choice in scalings]
    designs = [_design(expert, sample, rows[0])]
    designs += [_rescaled(expert, sample, row, designs[0]) for row in rows[1:]]
    middle = len(_PENALTIES) // 2
    tried = [_fit_once(design, sample, _PENALTIES[middle]) for design in designs]
    best = min(range(len(tried)), key=lambda number: tried[number].loss)
    chosen = tried[best]
    for penalties in (_PENALTIES[:middle][::-1], _PENALTIES[middle + 1 :]):
        for penalty in penalties:
            other = _fit_once(designs[best], sample, penalty)
            if not other.loss < chosen.loss:
                break
            chosen = other
    if not is_ordered:
        return chosen
    design, actual = designs[best], with_context(sample.actual, sample.windows.target)
    scaling = chosen.scaling.numpy()
    _, residuals = fit_scaled(design.features, actual, scaling, design.window, design.length, is_forward=True)
    return replace(chosen, residuals=residuals)


def _scaling(
    actual: NDArray[np.float32], is_fixed: bool, is_asinh: bool, statistics: CovariateStatistics
) -> torch.Tensor:
    """Return the row of the table `scaling` for windows with these actuals (N, H), with a penalty of 0."""
    known = actual[np.isfinite(actual)].astype(np.float64)
    location, scale = 0.0, 0.0
    if is_fixed and len(known):
        location = float(np.median(known))
        scale = 1.4826 * float(np.median(np.abs(known - location))) or float(known.std()) or 1.0
    return torch.cat([
        torch.tensor([location, scale, float(is_asinh), 0.0]),
        statistics.known_mean, statistics.known_deviation, statistics.observed_mean, statistics.observed_deviation,
    ])  # fmt: skip


def _fit_once(design: _Design, sample: LabeledWindows, penalty: float) -> _SampleFit:
    scaling = design.scaling.clone()
    scaling[TARGET_SCALING - 1] = penalty
    actual = with_context(sample.actual, sample.windows.target)
    fit, residuals = fit_scaled(design.features, actual, scaling.numpy(), design.window, design.length)
    errors = np.abs(residuals * design.window[:, 1:])
    known = errors[np.isfinite(errors)]
    return _SampleFit(fit, scaling, residuals, float(known.mean()) if len(known) else np.inf)


def _design(expert: LinearExpert, sample: LabeledWindows, scaling: torch.Tensor) -> _Design:
    """Return the design of all windows in one scaling."""
    features, located = [], []
    with torch.inference_mode():
        for tensors in _batches(sample):
            rows = scaling.expand(len(tensors["target"]), -1)
            scaled, location, scale = expert.scaled(tensors["target"], rows)
            covariates = expert.covariates(tensors["known_future"], tensors["observed"], rows)
            features.append(expert.features.design(scaled, *covariates, tensors["calendar"]).numpy())
            located.append(torch.cat([location, scale], dim=1).numpy().astype(np.float64))
    return _Design(scaling, np.concatenate(features), np.concatenate(located), expert.features.length)


def _rescaled(expert: LinearExpert, sample: LabeledWindows, scaling: torch.Tensor, design: _Design) -> _Design:
    """Return a design in another scaling, which changes only the features of the target."""
    past, located = [], []
    with torch.inference_mode():
        for start in range(0, len(sample.actual), _BATCH):
            target = torch.from_numpy(sample.windows.target[start : start + _BATCH])
            scaled, location, scale = expert.scaled(target, scaling.expand(len(target), -1))
            past.append(torch.cat(expert.features.past_days(scaled), dim=1).numpy())
            located.append(torch.cat([location, scale], dim=1).numpy().astype(np.float64))
    features, own = design.features.copy(), np.concatenate(past)
    features[:, :, : own.shape[1]] = own[:, None]
    return _Design(scaling, features, np.concatenate(located), design.length)


def _batches(sample: LabeledWindows) -> Iterator[dict[str, torch.Tensor]]:
    for start in range(0, len(sample.actual), _BATCH):
        yield to_tensors(sample.windows[start : start + _BATCH])
