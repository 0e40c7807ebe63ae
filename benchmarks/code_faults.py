"""Faults in the code of the simulated operation: exceptions raised at stages and at single calls of the store.

They need runs in this process.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import polars as pl

from storage.schemas import DataError

if TYPE_CHECKING:
    from benchmarks.operation import Operation

_STAGES = ("ingest", "train", "forecast", "score", "report")
#: Errors that any code may raise. The panic derives from BaseException alone.
ERRORS: tuple[Callable[[], BaseException], ...] = (
    lambda: OSError(errno.EIO, "Input/output error"),
    lambda: DataError("injected: unusable data"),
    lambda: ValueError("injected: a wrong value"),
    lambda: pl.exceptions.PanicException("injected: a panic in a worker thread"),
)
_CALLS = (
    "put", "get", "atomic_file", "has", "remove", "move", "copy", "copy_chosen", "update", "keys", "polars_sources",
)  # fmt: skip


@contextmanager
def failing_stage(operation: Operation) -> Iterator[dict[str, str]]:
    """Raise one of the errors inside one of the stages, each combination in turn."""
    stage, error = divmod(operation.turn("failing stage") % (len(_STAGES) * len(ERRORS)), len(ERRORS))
    with raising_stage(operation, _STAGES[stage], error) as environment:
        yield environment


@contextmanager
def raising_stage(operation: Operation, stage: str, error: int) -> Iterator[dict[str, str]]:
    """Raise an error inside a stage at its first attempt in this run."""
    pending = [stage]

    def before(name: str) -> None:
        if name in pending:
            pending.remove(name)
            raise ERRORS[error]()

    operation.before_stage = before
    operation.detail = f"{stage}: {type(ERRORS[error]()).__name__}"
    yield {"GATECAST_TRAINING__EVERY": "1d"} if stage == "train" else {}
    operation.before_stage = lambda name: None


@contextmanager
def failing_call(operation: Operation) -> Iterator[dict[str, str]]:
    """Raise one of the errors at one call of the store, chosen at random among those of a run."""
    last = max(operation.calls, 1)
    error = ERRORS[operation.turn("failing call") % len(ERRORS)]
    operation.failing_call = operation.random.randrange(last), error
    operation.detail = f"call {operation.failing_call[0]} of {last}: {type(error()).__name__}"
    yield {}
    operation.failing_call = None


@contextmanager
def clock_set_back(operation: Operation) -> Iterator[dict[str, str]]:
    """Set the clock back by two days for one run."""
    from flows import clock

    now: Callable[[], datetime] = clock.now
    with mock.patch.object(clock, "now", lambda: now() - timedelta(days=2)):
        yield {}


@contextmanager
def observed_store(operation: Operation) -> Iterator[None]:
    """Count the calls of the store in a run, and raise what the faults have planned at one of them."""
    operation.calls = 0
    implementation = type(operation.open())
    with ExitStack() as stack:
        for name in _CALLS:
            stack.enter_context(mock.patch.object(implementation, name, _observed(operation, implementation, name)))
        yield


def _observed(operation: Operation, implementation: type, name: str) -> Any:
    method = getattr(implementation, name)

    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        number, operation.calls = operation.calls, operation.calls + 1
        if operation.failing_call and operation.failing_call[0] == number:
            operation.detail += f" ({name} {str(arguments[0])[-60:]})"
            raise operation.failing_call[1]()
        if operation.refused_key is not None and arguments[0] == operation.refused_key and name != "has":
            raise DataError(f"{operation.refused_key} cannot be written: access denied")
        return method(self, *arguments, **options)

    return call
