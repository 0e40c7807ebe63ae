"""Progress of a fit: its share done, and its validation loss beside that of the seasonal naive forecast."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from model.spec import ModelSpec
from model.training.devices import to_tensors
from model.training.heads import pinball
from model.training.network import MarketStatistics, SegmentLSTM
from model.training.options import EarlyStopping
from model.training.samples import LabeledWindows
from model.training.statistics import covariate_statistics, scaled_residuals


@dataclass(frozen=True)
class FitProgress:
    """State of a fit after an evaluation of the validation windows.

    Attributes:
        member: Number of the member that is trained, in the order of training.
        share: Share of the fit that is done, 0 to 1. It never falls.
        update: Number of updates of the member that is trained.
        loss: Its best validation loss, infinite before the first evaluation.
        baseline: The loss of the seasonal naive forecast with empirical quantiles on the same windows.
    """

    member: int
    share: float
    update: int
    loss: float
    baseline: float


#: Callback that receives the progress of a fit.
Advance = Callable[[FitProgress], None]


def share_done(update: int, worse: int, stopping: EarlyStopping, max_updates: int, used: float, shown: float) -> float:
    """Return the share of a member's training that is done if its validation loss does not improve any more.

    An improvement moves the end away, and the share then stays where it was. It is near 1 when early stopping ends the
    training, and the progress does not jump.

    Args:
        update: Number of updates.
        worse: Evaluations in a row without improvement.
        stopping: Rule of early stopping.
        max_updates: Bound of the updates.
        used: Share of the time limit that is used up.
        shown: Share after the evaluation before.
    """
    until_stop = max(stopping.patience - worse, 0) * stopping.every
    return min(1.0, max(update / (update + until_stop), update / max_updates, used, shown))


def naive_loss(spec: ModelSpec, sample: LabeledWindows, validation: LabeledWindows, weights: torch.Tensor) -> float:
    """Return the weighted pinball loss of the seasonal naive forecast on the validation windows.

    Its quantiles are those of the scaled residuals of a sample at each step. The base forecast and the scale need no
    weights, so a network with random weights computes them.

    Args:
        spec: Model that is trained.
        sample: Windows to fit on.
        validation: Validation windows.
        weights: Weight of each series in the loss, shape (series + 1,).
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a step without any actual
        scaled = scaled_residuals(spec, sample, MarketStatistics())
        residuals = np.nan_to_num(np.nanquantile(scaled, spec.levels, axis=0))  # (Q, H)
    # The head does not matter here, and a softmax head would need edges.
    network = SegmentLSTM(replace(spec, head="quantile"), covariate_statistics(sample.windows), torch.empty(0)).eval()
    actual = torch.from_numpy(validation.actual)
    with torch.inference_mode():
        _, base_forecast, scale = network(**to_tensors(validation.windows))
        quantiles = base_forecast + torch.from_numpy(residuals.T.astype(np.float32)) * scale
        loss = pinball(quantiles, torch.tensor(spec.levels), actual).mean(dim=-1)
        loss = loss * weights[torch.from_numpy(validation.windows.series)][:, None]
        known = ~torch.isnan(actual)
        return float(loss[known].sum()) / max(int(known.sum()), 1)
