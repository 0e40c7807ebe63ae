"""Attempts: actions whose failure is a result that the caller handles, whatever its type.

A panic of a library in Rust, such as Polars, is raised as PanicException. It derives from BaseException, so that
`except Exception` misses it, and each library has a class of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from storage.errors import DataError, ExpectedError, encodable

T = TypeVar("T")

_PANIC = "PanicException"


@dataclass(frozen=True)
class Failed:
    """Failure of an attempt."""

    error: BaseException

    @property
    def is_data_error(self) -> bool:
        """True if the message names the input that cannot be used."""
        return isinstance(self.error, DataError)

    @property
    def is_expected(self) -> bool:
        """True if the message alone says what to do. Any other error is a fault of the program or of a library."""
        # A file of a model that ONNX Runtime refuses is unusable data. The runtime has a class for each of its faults.
        return isinstance(self.error, ExpectedError | OSError) or type(self.error).__module__.startswith("onnxruntime")

    @property
    def text(self) -> str:
        """The failure in one line, that of an unexpected error with its type."""
        return failure_text(self.error)


def attempt(action: Callable[[], T], passes: tuple[type[Exception], ...] = ()) -> T | Failed:
    """Return the result of an action, or its failure.

    Args:
        action: The action.
        passes: Errors that are raised as they are.
    """
    try:
        return action()
    except BaseException as error:
        if not is_failure(error) or isinstance(error, passes):
            raise
        return Failed(error)


def is_failure(error: BaseException) -> bool:
    """Return whether an error is a failure. Interrupts, exits and signals of Prefect are none."""
    return isinstance(error, Exception) or type(error).__name__ == _PANIC


def failure_text(error: BaseException) -> str:
    """Return an error in one line: one of the file system with its file first, an unexpected one with its type."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {error.strerror}; check the path and its permissions"
    elif isinstance(error, ExpectedError | OSError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return encodable(" ".join(text.split()))
