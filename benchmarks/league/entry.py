"""One forecaster on one task, in a process of its own: `python -m benchmarks.league.entry TASK PEER OUT [--quick]`.

It runs in the environment of the peers. `benchmarks.league` starts it and measures its CPU.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.league import forecasts, peers, tasks
from benchmarks.league.panel import load_panel

QUICK_ISSUES = 5


def peer_settings(peer: peers.Peer, task: tasks.Task, quick: bool) -> dict[str, Any]:
    """Return the settings of a peer, for `QUICK=1` with a small budget where it has one."""
    settings = peer.settings(task)
    if quick and peer.name == "lightgbm":
        from benchmarks.league.peers import trees

        settings = trees.quick_settings(settings)
    return {"issues": QUICK_ISSUES, **settings} if quick else settings


def main(task_name: str, peer_name: str, out: str, quick: bool) -> None:
    """Write the forecasts of one peer for one task."""
    task, peer = tasks.by_name(task_name), peers.by_name(peer_name)
    panel = load_panel(task, QUICK_ISSUES if quick else None)
    quantiles = peer.forecast(panel, peer_settings(peer, task, quick))
    forecasts.to_table(panel, quantiles).write_parquet(Path(out))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], quick="--quick" in sys.argv)
