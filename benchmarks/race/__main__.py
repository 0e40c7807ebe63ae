"""All parts of the race as one page: `make race` writes benchmarks/results/race.md.

`python -m benchmarks.race PYTHON RESULT`, with the Python of an environment that has neuralforecast.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.first_light import machine

_PARTS = {
    "floor": "100,000 series beside the lower bounds",
    "growth": "Growth",
    "peers": "Beside neuralforecast",
    "fit": "Training",
    "int8": "Eight bits",
    "orchestration": "What Prefect adds",
}


def main() -> None:
    """Run every part and write the page."""
    python, result = sys.argv[1], Path(sys.argv[2])
    began = datetime.now(UTC)
    page = [
        f"# The race\n\n`make race`, {began:%Y-%m-%d}. {machine()}.\n\nEvery run is a process of its own. The "
        "kernel measured its wall time, CPU and peak memory."
    ]
    for part, title in _PARTS.items():
        arguments = [python] if part in ("peers", "fit") else []
        print(f"{title} ...", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.race.{part}", *arguments], check=True, stdout=subprocess.PIPE, text=True
        )
        page.append(f"## {title}\n\n`python -m benchmarks.race.{part}`\n\n{done.stdout.strip()}")
        result.write_text("\n\n".join(page) + "\n")


if __name__ == "__main__":
    main()
