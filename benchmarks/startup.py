"""Cost of the start of `gatecast forecast`, import by import: `python -m benchmarks.startup`. Prints Markdown.

Each run is a new process that does the imports of `flows/__main__.py` one by one and then forecasts one series. CPU and
resident memory are read after each step. CPU is the least of eleven runs. Memory is that of the last run: private, and
of mapped files.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.first_light import machine
from benchmarks.many import ISSUE, ROOT, make

RUNS = 11
STEPS = {
    "Python itself": "import flows.__main__; os.environ.setdefault(*flows.__main__.SINGLE_THREAD_NUMPY); gc.disable()",
    "numpy": "import numpy",
    "polars": "import polars",
    "pydantic": "import pydantic",
    "click": "import click",
    "the settings and the command": "import flows.cli; gc.freeze(); gc.enable()",
    "onnxruntime": "import onnxruntime",
    "the stage": "import flows.stages.forecast",
    "the forecast of one series": "flows.cli.main([*arguments], standalone_mode=False)",
}
_CODE = """
import gc, os, sys, time
arguments = sys.argv[1:]
figures = []
def note():
    rss = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Rss"))
    figures.append((time.process_time(), *(int(rss[k].split()[0]) / 1024 for k in ("RssAnon", "RssFile"))))
try:
    {steps}
except SystemExit:
    pass
note()
import json
print(json.dumps(figures))
"""


def main() -> None:
    """Measure all and print the table."""
    steps = "; note()\n    ".join(STEPS.values())
    with tempfile.TemporaryDirectory() as scratch:
        path = make(Path(scratch) / "one", 1)
        arguments = ["forecast", str(path), "--issue-time", ISSUE.isoformat(), "--quiet"]
        command = [sys.executable, "-c", _CODE.format(steps=steps), *arguments]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
            for _ in range(RUNS)
        ]
    print(f"{machine()}\n\n| step | CPU ms | private MB | MB of mapped files |\n|---|---:|---:|---:|")
    for number, name in enumerate(STEPS):
        cpu = min(run[number][0] - (run[number - 1][0] if number else 0) for run in runs)
        print(f"| {name} | {1e3 * cpu:.0f} | {runs[-1][number][1]:.0f} | {runs[-1][number][2]:.0f} |")
    print(f"| all | {1e3 * min(run[-1][0] for run in runs):.0f} | | |")


if __name__ == "__main__":
    main()
