"""Errors of data, models and stores that cannot be used."""

from __future__ import annotations


class DataError(Exception):
    """Something outside the code cannot be used: a feed, a store, a model.

    The message names the thing and what to do; the command line prints it alone and exits with 1.
    """


class Missing(DataError):
    """There is nothing at the place that the message names."""
