"""Data and options of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.training.samples import LabeledWindows, Sampler

if TYPE_CHECKING:
    from model.training.linear_fit import FittedLinear


@dataclass(frozen=True)
class TrainingData:
    """Windows to fit on, and windows for early stopping. No horizon of the former reaches into the latter.

    Attributes:
        source: Sampler of the windows to fit on. Its spec is that of the network.
        validation: Windows on which early stopping chooses the weights, and the interval scale is fitted.
        linear: Linear expert, fitted on the windows of `source`. None if the spec has none.
    """

    source: Sampler
    validation: LabeledWindows
    linear: FittedLinear | None = None


@dataclass(frozen=True)
class EarlyStopping:
    """Rule that ends a member's training when the validation windows show no improvement.

    Attributes:
        every: Updates between two evaluations of the validation windows.
        patience: Evaluations in a row without improvement after which training ends.
    """

    every: int
    patience: int


@dataclass(frozen=True)
class FitOptions:
    """Seed, bounds and hardware of a training. docs/experiments.md has the experiments behind the defaults.

    Attributes:
        seed: Equal seeds, data and machines give equal weights, unless `max_seconds` ends the training. A GPU adds in
            no fixed order, so there the weights are only nearly equal.
        max_seconds: Seconds for all trained members together.
        max_updates: Updates per member.
        full_stopping: Early stopping of a member that begins with random weights.
        warm_stopping: Early stopping of a member that begins with the weights of an earlier training.
        device: Device that holds the weights during training, see `devices.resolve_device`.
        threads: Threads of torch. A second one that must wait for a core costs several times the CPU of one.
        bfloat16: Whether products are computed in bfloat16 on the CPU; None means if that is faster.
    """

    seed: int
    max_seconds: float = math.inf
    max_updates: int = 3000
    full_stopping: EarlyStopping = EarlyStopping(every=50, patience=12)
    warm_stopping: EarlyStopping = EarlyStopping(every=25, patience=3)
    device: str = "cpu"
    threads: int = 1
    bfloat16: bool | None = None
