"""Errors that a user can correct: of data, models and stores that cannot be used, and others by their base class."""

from __future__ import annotations

from collections.abc import Callable


class ExpectedError(Exception):
    """An error whose message alone states what happened and what to do. It needs no type and no traceback."""


class DataError(ExpectedError):
    """An input that cannot be used: a feed, a store or a model.

    The message names the input and what to do. The command line prints the message alone and exits with status 1.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(encodable(one) if isinstance(one, str) else one for one in arguments))


def encodable(text: str) -> str:
    """Return a text with escapes in place of what UTF-8 does not have.

    The name of a file, or an escape in a JSON file, can hold half a character (a surrogate). A message with one could
    neither be printed nor stored.
    """
    return text.encode("utf-8", "backslashreplace").decode()


class MissingColumn(DataError):
    """A source lacks a column that a feed names.

    Args:
        source: Name of the source.
        column: The column.
        present: What the source has instead, and what that suggests.
    """

    def __init__(self, source: str, column: str, present: str) -> None:
        super().__init__(f"{source}: there is no column {column!r}; {present}")
        self.source, self.column, self.present = source, column, present

    def of_key(self, key: str) -> str:
        """Return the message with the key of the feed that names the column."""
        return f"{self.source}: there is no column {self.column!r}, which the feed has as {key}; {self.present}"


class Missing(DataError):
    """A key or object that does not exist."""


class Unreadable(DataError):
    """Content that exists and cannot be read now, such as without the permission. It is not known to be damaged."""


def first_line(error: BaseException, redact: Callable[[str], str] = str) -> str:
    """Return the first line of an error's message, or the name of its type if it has none.

    Args:
        error: The error.
        redact: Function that removes secrets from the whole message.
    """
    lines = redact(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
