"""Sample paths: possible courses of a forecast over all its steps and series, from quantiles and past courses.

The quantiles give the values of each step. Past courses give only their order, so that steps and series move together
as they did in the past: the Schaake shuffle of Clark et al. (2004), "The Schaake Shuffle: A Method for Reconstructing
Space-Time Variability in Forecasted Precipitation and Temperature Fields", Journal of Hydrometeorology 5, 243-262.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def spread_quantiles(quantiles: Floats, levels: Floats, count: int) -> Floats:
    """Return `count` quantiles at the levels (i - 0.5) / count, ascending, shape (..., N).

    Between the levels, and beyond the outer ones, the quantiles are linear in the quantile of a normal distribution.

    Args:
        quantiles: Quantiles that do not cross, shape (..., Q).
        levels: Their levels, ascending, shape (Q,).
        count: Number of quantiles to return.
    """
    inverse = NormalDist().inv_cdf
    at = np.array([inverse((i + 0.5) / count) for i in range(count)])
    known = np.array([inverse(level) for level in levels])
    if len(known) == 1:
        return np.repeat(quantiles, count, axis=-1)
    left = np.clip(np.searchsorted(known, at) - 1, 0, len(known) - 2)
    share = (at - known[left]) / (known[left + 1] - known[left])
    spread: Floats = quantiles[..., left] * (1 - share) + quantiles[..., left + 1] * share
    return spread


def shuffle(values: Floats, templates: Floats) -> Floats:
    """Return the values of each series and step in the order of its templates: the Schaake shuffle.

    The path with the k-th smallest template at a step gets the k-th smallest value there. Among equal templates the
    path with the lower number has the smaller value.

    Args:
        values: Ascending values of S series and H steps, shape (S, H, N).
        templates: Past courses, one for each path, shape (S, N, H).

    Returns:
        Paths, shape (S, N, H).
    """
    order = np.argsort(templates, axis=1, kind="stable")
    paths = np.empty_like(values.swapaxes(1, 2))
    np.put_along_axis(paths, order, values.swapaxes(1, 2), axis=1)
    return paths


def choose_templates(courses: Floats, count: int, fewest: int) -> Floats | None:
    """Return one past course of a series for each of `count` paths, shape (N, H), None if too few are complete.

    Path k has course k modulo M in every series, so that series move together. A series without this course has
    another one of its own.

    Args:
        courses: M past courses, newest first, with NaN where a value is not known, shape (M, H).
        count: Number N of paths.
        fewest: Smallest number of complete courses.
    """
    complete = np.flatnonzero(~np.isnan(courses).any(axis=1))
    if len(complete) < fewest:
        return None
    path = np.arange(count)
    chosen = path % len(courses)
    chosen = np.where(np.isin(chosen, complete), chosen, complete[path % len(complete)])
    templates: Floats = courses[chosen]
    return templates
