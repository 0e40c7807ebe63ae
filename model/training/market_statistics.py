"""Constants that the members for a market keep: the long-run volatility of each series, and how its spikes end.

They are of the whole history, of which a context of weeks shows little (docs/experiments.md, "Markets").
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from model.spec import UNKNOWN
from model.training.features import SPIKE
from model.training.network import MarketStatistics
from model.training.samples import Sampler
from model.training.statistics import known_target
from model.windows import embedding_index

_VOLATILITY_HALF_LIFE = 1000.0  # steps, four years of business days
_FEWEST_SPIKES = 10  # windows that end with a spike
_PRIOR_SPIKES = 10  # windows whose spike would last, added to those of the history


def market_statistics(source: Sampler, start: MarketStatistics | None) -> MarketStatistics:
    """Return the statistics of the history that the members have, none for a series that is no market.

    Args:
        source: Windows to fit on, with their panel.
        start: Statistics of the network to continue, None for a new one. A graph of an earlier version has no place
            for those that it does not have.
    """
    if source.spec.season != 1:
        return MarketStatistics()
    has_volatility = start is None or start.volatility_roots is not None
    has_reversions = start is None or start.reversions is not None
    return MarketStatistics(
        volatility_roots=volatility_roots(source) if has_volatility else None,
        reversions=reversions(source) if has_reversions else None,
    )


def _histories(source: Sampler) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield entry and visible values of each series with more of them than two contexts, oldest value first."""
    target = known_target(source).astype(np.float64)
    for entry, values in zip(embedding_index(source.spec, source.panel.series), target, strict=True):
        seen = values[~np.isnan(values)]
        if entry != UNKNOWN and len(seen) > 2 * source.spec.context:
            yield int(entry), seen


def volatility_roots(source: Sampler) -> torch.Tensor:
    """Return the long-run volatility of each entry of the series embedding, shape (series + 1,).

    It is the weighted mean over the history of the square root of each change, relative to the level of the context
    before it. The level is the root of the sum of the squared mean and the variance. The weight of a change halves
    every `_VOLATILITY_HALF_LIFE` steps. It is 0 for the unknown entry, and for a series with fewer changes than a
    context has steps.
    """
    context = source.spec.context
    roots = np.zeros(len(source.spec.series) + 1, np.float32)
    for entry, seen in _histories(source):
        windows = np.lib.stride_tricks.sliding_window_view(seen, context)[:-1]
        level = np.sqrt(windows.mean(axis=1) ** 2 + windows.var(axis=1))
        changes = np.abs(np.diff(seen)[context - 1 :])
        weights = 0.5 ** (np.arange(len(changes))[::-1] / _VOLATILITY_HALF_LIFE)
        roots[entry] = np.average(np.sqrt(changes / np.maximum(level, np.finfo(np.float32).tiny)), weights=weights)
    return torch.from_numpy(roots)


def reversions(source: Sampler) -> torch.Tensor:
    """Return the share of a spike that is gone at each step, 0 to 1, shape (series + 1, H).

    A spike is the part of a window's last value that is further than `SPIKE` from the window's mean (see
    `Features.spike`). The share minimises the mean absolute error of the last value less that share of its spike. Some
    spikes that would last are added, so that few of them decide little. The share is 0 for the unknown entry, and for
    a series with few spikes.
    """
    spec = source.spec
    shares = np.zeros((len(spec.series) + 1, spec.horizon), np.float32)
    for entry, seen in _histories(source):
        mean = np.lib.stride_tricks.sliding_window_view(seen, spec.context)[: -spec.horizon].mean(axis=1)
        last = np.arange(spec.context - 1, len(seen) - spec.horizon)
        distance = seen[last] - mean
        spikes = np.sign(distance) * np.maximum(np.abs(distance) - SPIKE * np.abs(mean), 0)
        has_spike = spikes != 0
        if has_spike.sum() < _FEWEST_SPIKES:
            continue
        spikes, last = spikes[has_spike], last[has_spike]
        weights = np.append(np.abs(spikes), _PRIOR_SPIKES * np.abs(spikes).mean())
        for step in range(spec.horizon):
            gone = np.append((seen[last] - seen[last + 1 + step]) / spikes, 0.0)
            shares[entry, step] = np.clip(_weighted_median(gone, weights), 0.0, 1.0)
    return torch.from_numpy(shares)


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return the value that minimises the weighted sum of absolute distances to `values` (N,)."""
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])
