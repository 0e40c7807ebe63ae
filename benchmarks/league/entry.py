"""One forecaster, one task, in a process of its own: `python -m benchmarks.league.entry TASK PEER OUT [--quick]`.

It runs in the league's own environment; `benchmarks.league` starts it and counts its CPU.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.league import forecasts, panel, peers, tasks

QUICK_ISSUES = 5


def settings(peer: peers.Peer, task: tasks.Task, quick: bool) -> dict[str, Any]:
    """Those of the peer; of `QUICK=1`, with a small budget where it has one."""
    found = peer.settings(task)
    if quick and peer.name == "lightgbm":
        from benchmarks.league.peers import trees

        found = trees.quick(found)
    return {"issues": QUICK_ISSUES, **found} if quick else found


def main(task_name: str, peer_name: str, out: str, quick: bool) -> None:
    """Forecast and write."""
    task, peer = tasks.by_name(task_name), peers.by_name(peer_name)
    given = panel.load(task, QUICK_ISSUES if quick else None)
    quantiles = peer.forecast(given, settings(peer, task, quick))
    forecasts.table(given, quantiles).write_parquet(Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:4], quick="--quick" in sys.argv)
