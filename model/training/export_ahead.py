"""Export of a graph in a process of its own, beside the fit.

The first training of a model shape exports its graph, which takes up to a minute of CPU and depends on no weights. In
a process of its own it takes no time from the fit where a core is free. As a main module this file is that process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from types import TracebackType
from typing import Self

from model.spec import ModelSpec
from model.training.export_cache import has_cache


class ExportAhead:
    """Context in which another process exports the graph of a shape. The process ends with the context.

    Args:
        spec: Spec of the model, None to export nothing.
    """

    def __init__(self, spec: ModelSpec | None) -> None:
        self._spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._content = b""
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        # With a cache, an export may take no time, and only this process has the cache.
        if self._spec is not None and not has_cache():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "model.training.export_ahead"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                # Standard input stays open. The process ends when it closes, so it does not outlive its parent.
                self._process.stdin.write(self._spec.to_json().encode() + b"\n")
                self._process.stdin.flush()
            self._reader.start()
        return self

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        self._content = self._process.stdout.read()

    def template(self) -> bytes | None:
        """Return the exported model file with placeholders as weights, None if the process has none.

        The call waits for the process. The caller then exports itself, and gets the error if there is one.
        """
        if self._process is None:
            return None
        self._reader.join()
        return self._content if self._process.wait() == 0 else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _exit_with_parent() -> None:
    """End the process when standard input ends, that is, when the parent is gone."""
    while sys.stdin.buffer.read(1):
        pass
    os._exit(1)


def _main() -> None:
    # Only the file may go to standard output. Text that a library prints must not.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    spec = ModelSpec.from_json(sys.stdin.buffer.readline().decode())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    import torch

    from model.training.graph import graph_template

    torch.set_num_threads(1)
    output.write(graph_template(spec).SerializeToString())
    output.close()
    os._exit(0)


if __name__ == "__main__":
    _main()
