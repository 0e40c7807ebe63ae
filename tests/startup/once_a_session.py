"""What the processes of a test session make once, for all of them.

The graphs of networks are: torch's exporter takes 15 to 25 seconds of CPU for each. Everything else of a training is as
ever, and the first process that needs a graph has the exporter write it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.abc
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

#: The environment variable that names their folder, which is empty when the session begins.
FOLDER = "MADE_ONCE_A_SESSION"

_MODULE = "model.training.graph"
# Of a spec, what no graph depends on.
_MEANING = ("frequency", "timezone", "holidays", "day_start")


class _Finder(importlib.abc.MetaPathFinder):
    """Lets the exporter's module be imported as ever, and changed then: most processes never import it."""

    def find_spec(self, name, path, target=None):
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            module._exported = _remembered(module._exported)

        spec.loader.exec_module = exec_module
        return spec


def once(name: str, make: Callable[[Path], None]) -> Path:
    """What `make` puts at the path that it is given: made by the first process that asks, which the others wait for."""
    import filelock

    path = Path(os.environ[FOLDER], name)
    with filelock.FileLock(f"{path}.lock"):
        if not path.exists():
            whole = path.with_suffix(f".{os.getpid()}")
            make(whole)
            whole.replace(path)
    return path


def install() -> None:
    """Share the graphs, in this process, before it has imported the exporter's module."""
    assert _MODULE not in sys.modules
    sys.meta_path.insert(0, _Finder())


def _remembered(export):
    @functools.wraps(export)
    def remembered(module, inputs, outputs):
        import onnx

        (part,) = module.children()
        shape = {name: value for name, value in asdict(part.spec).items() if name not in _MEANING}
        said = json.dumps([type(module).__name__, shape], sort_keys=True)
        name = hashlib.sha256(said.encode()).hexdigest()[:16]
        return onnx.load_model(once(name, lambda path: onnx.save_model(export(module, inputs, outputs), path)))

    return remembered
