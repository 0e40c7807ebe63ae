"""Gatecast from Python: forecasts, actuals and sample paths of a store as Polars frames."""

from importlib.metadata import version

from gatecast.reading import read, read_samples
from storage.schemas import DataError

__all__ = ["DataError", "__version__", "read", "read_samples"]

__version__ = version("gatecast")
