"""Errors of data, models and stores that cannot be used."""

from __future__ import annotations


class DataError(Exception):
    """An input that cannot be used: a feed, a store or a model.

    The message names the input and what to do. The command line prints the message alone and exits with status 1.
    """


class Missing(DataError):
    """A key or object that does not exist."""
