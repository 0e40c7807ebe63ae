"""The other forecasters: each a module with its settings and a function from a panel to quantiles.

Settings are all that a peer's forecast depends on beside the data: a forecast is made anew when they change.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.league.panel import Panel
from benchmarks.league.tasks import Task

_MARKET = ("market",)
_ALL = ("load", "zones", "halfhour", "daily", "price", "market")


@dataclass(frozen=True)
class Peer:
    """One forecaster.

    Attributes:
        name: in the table and of its files.
        module: under this package; has `settings(peer, task)` and `forecast(panel, settings)`.
        groups: of tasks that it takes part in.
        quick: also in `make league QUICK=1`.
        cheap: made afresh in seconds, so that nobody needs to keep it.
    """

    name: str
    module: str
    groups: tuple[str, ...] = _ALL
    quick: bool = False
    cheap: bool = False

    def settings(self, task: Task) -> dict[str, Any]:
        """Everything that its forecasts of a task depend on, beside the data."""
        return import_module(f"{__name__}.{self.module}").settings(self.name, task)

    def forecast(self, panel: Panel, settings: dict[str, Any]) -> np.ndarray:
        """(S, I, H, Q) quantiles in the target's unit, each from what was known at its issue time."""
        return import_module(f"{__name__}.{self.module}").forecast(panel, settings)


#: Cheapest first.
PEERS = (
    Peer("seasonal-naive", "naive", quick=True, cheap=True),
    Peer("random-walk", "naive", _MARKET, quick=True, cheap=True),
    Peer("garch", "garch", _MARKET),
    Peer("auto-ets", "statistical", ("daily", "market")),
    # An hour and more of CPU for the 7,300 fits of zones.
    Peer("mstl", "statistical", ("load", "halfhour", "price")),
    Peer("lightgbm", "trees", quick=True),
    Peer("nf-nhits", "neural"),
    Peer("nf-lstm", "neural"),
    Peer("nf-tft", "neural"),
)


def by_name(name: str) -> Peer:
    """The peer of that name."""
    return next(peer for peer in PEERS if peer.name == name)
