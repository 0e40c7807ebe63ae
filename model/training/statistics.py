"""Statistics of the training data that the network keeps as constants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from model.baseline import seasonal_scale
from model.spec import UNKNOWN, ModelSpec
from model.training.devices import to_tensors
from model.training.heads import BINS
from model.training.network import CovariateStatistics, SegmentLSTM, uses_residual_prior
from model.training.samples import LabeledWindows, Sampler
from model.windows import Windows, embedding_index

_TAILS = (0.002, 0.998)  # levels between which half of the softmax head's bins are evenly spaced


def series_weights(source: Sampler) -> torch.Tensor:
    """(series + 1,) one over each series' seasonal naive MAE; 1 for the unknown entry and where unknown."""
    panel, spec = source.panel, source.spec
    count = len(panel.series)
    final = panel.target.final(np.arange(count), np.zeros(count, np.int64), source.last - panel.first + 1)
    scale = seasonal_scale(final, spec.season)
    weight = np.ones(len(spec.series) + 1, np.float32)
    usable = np.isfinite(scale) & (scale > 0)
    entry = embedding_index(spec, panel.series)
    weight[entry[usable]] = 1 / scale[usable]
    weight[UNKNOWN] = 1.0
    return torch.from_numpy(weight)


def covariate_statistics(sample: Windows) -> CovariateStatistics:
    """Return location and scale of the covariates over the sample's windows."""

    def moments(table: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        flat = table.reshape(table.shape[0] * table.shape[1], table.shape[2]).astype(np.float64)
        known = ~np.isnan(flat)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, flat, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, flat - mean, 0) ** 2).sum(axis=0) / count)
        spread = np.where(spread > 0, spread, 1.0)
        return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(spread.astype(np.float32))

    return CovariateStatistics(*moments(sample.known_future), *moments(sample.observed))


def bin_edges(spec: ModelSpec, sample: LabeledWindows) -> torch.Tensor:
    """(BINS + 1,) edges of the softmax head's bins: quantiles of the scaled residuals met in training."""
    if spec.head != "softmax":
        return torch.empty(0)
    residual = scaled_residuals(spec, sample).ravel()
    residual = residual[~np.isnan(residual)]
    # Half of the edges where the residuals are, half evenly over their range: wide bins in the tails would make
    # long tails of the mass in them.
    low, high = np.quantile(residual, _TAILS)
    dense = np.quantile(residual, np.linspace(0, 1, BINS // 2 + 1))
    edges = np.sort(np.concatenate([dense, np.linspace(low, high, BINS // 2)]))
    # A little room for what was never met, and no bin without width.
    reach = 0.05 * (edges[-1] - edges[0]) + 1e-3
    edges[0], edges[-1] = edges[0] - reach, edges[-1] + reach
    return torch.from_numpy(np.maximum.accumulate(edges + np.arange(BINS + 1) * 1e-6).astype(np.float32))


def residual_quantiles(spec: ModelSpec, sample: LabeledWindows) -> torch.Tensor | None:
    """(H, Q) quantiles of the scaled residuals met in training; None for a network that does not lean on them."""
    if not uses_residual_prior(spec):
        return None
    found = np.nanquantile(scaled_residuals(spec, sample), spec.levels, axis=0)  # (Q, H)
    return torch.from_numpy(np.nan_to_num(found).T.astype(np.float32).copy())


def scaled_residuals(spec: ModelSpec, sample: LabeledWindows) -> np.ndarray:
    """(B, H) actuals less the base, in units of their windows."""
    blank = SegmentLSTM(replace(spec, head="quantile"), covariate_statistics(sample.windows), torch.empty(0)).eval()
    with torch.inference_mode():
        _, base, scale = blank(**to_tensors(sample.windows))
    return (sample.actual - base[..., 0].numpy()) / scale[..., 0].numpy()
