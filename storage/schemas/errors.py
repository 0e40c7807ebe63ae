"""Errors of data, models and stores that cannot be used."""

from __future__ import annotations


class DataError(Exception):
    """An input that cannot be used: a feed, a store or a model.

    The message names the input and what to do. The command line prints the message alone and exits with status 1.
    """


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
