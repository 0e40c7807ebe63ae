"""Findings of the checks of whole series."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.schemas.records import Action


class Finding(NamedTuple):
    """Result of one check on one series.

    Attributes:
        check: Name of the check.
        action: What the pipeline file requests for this check.
        series_id: The series, or None for a covariate that all series share.
        rows: Number of rows concerned.
        first: Start of the first period concerned (UTC).
        last: Start of the last period concerned (UTC).
        detail: A phrase with the figures.
    """

    check: str
    action: Action
    series_id: str | None
    rows: int
    first: datetime
    last: datetime
    detail: str


class SeriesFault(NamedTuple):
    """A fault of one series, in the numbers of a `SeriesTable`.

    Attributes:
        number: Number of the series.
        rows: Rows concerned.
        first: First step concerned.
        last: Last step concerned.
        detail: A phrase with the figures.
    """

    number: int
    rows: NDArray[np.int64]
    first: int
    last: int
    detail: str
