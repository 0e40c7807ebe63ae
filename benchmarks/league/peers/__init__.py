"""The other forecasters: each is a module with its settings and a function from a panel to quantiles.

The settings are all that a peer's forecast depends on beside the data. Forecasts are made again when they change.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.league.panel import Panel
from benchmarks.league.tasks import Task

_MARKET = ("market",)
_GAS = ("gas", "gas-calendar")
_ALL = ("load", "zones", "halfhour", "daily", "price", "price-2024", "market", *_GAS)


@dataclass(frozen=True)
class Peer:
    """One forecaster.

    Attributes:
        name: Name in the table and of its files.
        module: Module of this package that has `settings(peer, task)` and `forecast(panel, settings)`.
        groups: Groups of tasks that it takes part in.
        quick: Whether it also takes part in `make league QUICK=1`.
        cheap: Whether its forecasts take only seconds, so that their losses are not kept in the repository.
    """

    name: str
    module: str
    groups: tuple[str, ...] = _ALL
    quick: bool = False
    cheap: bool = False

    def settings(self, task: Task) -> dict[str, Any]:
        """Return everything that its forecasts of a task depend on, beside the data."""
        settings: dict[str, Any] = import_module(f"{__name__}.{self.module}").settings(self.name, task)
        return settings

    def forecast(self, panel: Panel, settings: dict[str, Any]) -> np.ndarray:
        """Return quantiles in the target's unit, shape (S, I, H, Q), each from what was known at its issue time."""
        quantiles: np.ndarray = import_module(f"{__name__}.{self.module}").forecast(panel, settings)
        return quantiles


#: Peers, cheapest first.
PEERS = (
    Peer("seasonal-naive", "naive", quick=True, cheap=True),
    Peer("random-walk", "naive", _MARKET, quick=True, cheap=True),
    Peer("garch", "garch", _MARKET),
    Peer("degree-days", "degree_days", ("gas",), quick=True, cheap=True),
    Peer("degree-days-corrected", "degree_days", ("gas",), cheap=True),
    Peer("auto-ets", "statistical", ("daily", "market", *_GAS)),
    # The 7,300 fits of zones would take more than an hour of CPU.
    Peer("mstl", "statistical", ("load", "halfhour", "price")),
    Peer("lightgbm", "trees", quick=True),
    Peer("nf-nhits", "neural"),
    Peer("nf-lstm", "neural"),
    Peer("nf-tft", "neural"),
)


def by_name(name: str) -> Peer:
    """Return the peer of that name."""
    return next(peer for peer in PEERS if peer.name == name)
